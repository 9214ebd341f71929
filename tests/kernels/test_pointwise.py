"""Pointwise kernels, copies and zero padding; how dims are merged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.cases import NHWC, assert_exact, examples, execute, integers, layouts, seeds, widened
from tests.kernels.run import DTYPES, place, run, surroundings_intact
from tests.targets import CPU
from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.kernels import pad, pointwise
from tritoncnn.kernels.dims import merge_dims
from tritoncnn.ops.slot import make_slot

dense = TensorType.dense
shapes = st.lists(st.sampled_from((1, 1, 2, 3, 5, 17)), max_size=4)


def reshaped(tensor: torch.Tensor, wanted: TensorType) -> torch.Tensor:
    """The same memory as another type."""
    return tensor.as_strided(wanted.shape, wanted.strides, tensor.storage_offset())


@examples(25)
@given(shapes, st.data(), seeds, st.booleans(), st.booleans())
def test_pointwise_broadcasts_as_torch(
    shape: list[int], data: st.DataObject, seed: int, flattened: bool, wide: bool
) -> None:
    """Floats of 16 and 32 bits side by side; whole numbers up to 20 are exact in all of them."""
    fast = NHWC if len(shape) == 4 else None
    dtypes = st.sampled_from(("f32", "f32", "f16", "bf16"))
    y_type = data.draw(layouts(shape, fast, data.draw(dtypes)))
    operands = []
    for _ in range(3):
        own = [data.draw(st.sampled_from((size, size, 1))) for size in shape[data.draw(st.integers(0, len(shape))) :]]
        operands.append(data.draw(layouts(own, NHWC if len(own) == 4 else None, data.draw(dtypes))))
    if data.draw(st.booleans()):
        operands[0] = data.draw(layouts(shape, fast, data.draw(dtypes)))
    y_own, own_types = (y_type, tuple(operands))
    if flattened or not shape:
        y_own, own_types = pointwise.flatten_when_dense(y_type, operands)
    slot = make_slot("relu(add(mul($0, $1), $2))", y_own, own_types)
    tensors = [place(t, integers(t.shape, seed + i)) for i, t in enumerate(operands)]
    launch = pointwise.pointwise(y_own, own_types, slot, target=CPU)
    (y,) = execute(
        launch, [y_own], [], [reshaped(t, own) for t, own in zip(tensors, own_types, strict=True)], wide=wide
    )
    a, b, c = (t.double() for t in tensors)
    assert_exact(reshaped(y, y_type), torch.relu(a * b + c).expand(shape))


@examples(25)
@given(shapes, st.data(), seeds, st.booleans(), st.sampled_from(("f32", "i64", "u8", "f16")))
def test_copy_changes_layout(shape: list[int], data: st.DataObject, seed: int, wide: bool, dtype: str) -> None:
    y_type, x_type = data.draw(layouts(shape, dtype=dtype)), data.draw(layouts(shape, dtype=dtype))
    x = place(x_type, integers(shape, seed).abs().to(DTYPES[dtype]))
    (y,) = execute(pointwise.copy(y_type, x_type, target=CPU), [y_type], [x], wide=wide)
    assert torch.equal(y, x)


@examples(20)
@given(
    st.data(), st.integers(0, 2), st.sampled_from((1, 3, 16)), st.tuples(*[st.integers(1, 9)] * 2), seeds, st.booleans()
)
def test_pad_agrees_with_torch(
    data: st.DataObject, N: int, C: int, size: tuple[int, int], seed: int, wide: bool
) -> None:
    edge = st.integers(-2, 3)
    top, left = data.draw(edge), data.draw(edge)
    top, left = max(top, 1 - size[0]), max(left, 1 - size[1])
    bottom = max(data.draw(edge), 1 - size[0] - min(top, 0))
    right = max(data.draw(edge), 1 - size[1] - min(left, 0))
    x_shape = (N, C, *size)
    y_shape = (N, C, size[0] + top + bottom, size[1] + left + right)
    y_type, x_type = data.draw(layouts(y_shape, NHWC)), data.draw(layouts(x_shape, NHWC))
    x = place(x_type, integers(x_shape, seed))
    (y,) = execute(pad.pad2d(y_type, x_type, padding=(top, bottom, left, right), target=CPU), [y_type], [x], wide=wide)
    assert_exact(y, pad.pad2d_torch(x.double(), (top, bottom, left, right)))


@examples(20)
@given(
    st.data(), st.integers(0, 2), st.sampled_from((1, 3, 16)), st.tuples(*[st.integers(1, 9)] * 2),
    st.tuples(*[st.integers(0, 3)] * 4), st.booleans(),
)  # fmt: skip
def test_a_border_is_zero_and_what_is_inside_stays(
    data: st.DataObject, N: int, C: int, size: tuple[int, int], padding: tuple[int, int, int, int], wide: bool
) -> None:
    top, bottom, left, right = padding
    y_type = data.draw(layouts((N, C, size[0] + top + bottom, size[1] + left + right), NHWC))
    y = place(y_type, torch.full(y_type.shape, 7.0))
    run(widened(pad.border2d(y_type, padding=padding, target=CPU), wide), y)
    assert surroundings_intact(y)
    assert_exact(y, pad.pad2d_torch(torch.full((N, C, *size), 7.0).double(), padding))


@examples(200)
@given(shapes, st.data())
def test_merged_dims_address_the_same_elements(shape: list[int], data: st.DataObject) -> None:
    """Walked side by side, the tensors' elements meet in the same pairs as before."""

    def addresses(sizes: tuple[int, ...], strides: tuple[int, ...]) -> torch.Tensor:
        total = torch.zeros(sizes, dtype=torch.int64)
        for d, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
            total += (torch.arange(size) * stride).reshape([-1 if d == e else 1 for e in range(len(sizes))])
        return total.flatten()

    types = [data.draw(layouts(shape)) for _ in range(2)]
    merged = merge_dims(types)
    sizes = tuple(size for size, _ in merged)
    before = [addresses(t.shape, t.strides) for t in types]
    after = [addresses(sizes, tuple(strides[j] for _, strides in merged)) for j in range(2)]
    assert sorted(zip(*[b.tolist() for b in before], strict=True)) == sorted(
        zip(*[a.tolist() for a in after], strict=True)
    )
    assert 1 not in sizes


def test_dense_tensors_become_one_dim() -> None:
    y, bias, one = dense("f32", (2, 3, 5, 7), NHWC), dense("f32", (3, 1, 1)), dense("f32", (1, 1))
    assert pointwise.flatten_when_dense(y, [y, one]) == (dense("f32", (210,)), (dense("f32", (210,)), dense("f32", ())))
    assert pointwise.flatten_when_dense(y, [bias]) == (dense("f32", (70, 3)), (TensorType("f32", (1, 3), (0, 1)),))
    row_major = dense("f32", (2, 3, 5, 7))
    assert pointwise.flatten_when_dense(row_major, [y])[0] == dense("f32", (2, 3, 35))
    assert pointwise.flatten_when_dense(dense("f32", (0, 3)), [dense("f32", (0, 3))])[0].shape == (0,)


def test_tiles_fill_lanes_first() -> None:
    assert pointwise.pick_tile(1, 1_000_000, target=CPU) == pointwise.Tile(1, 4096)
    assert pointwise.pick_tile(9216, 6, target=CPU) == pointwise.Tile(512, 8)
    assert pad.pick_tile(64 * 32, 32, target=CPU).BLOCK_LANES == 32


Y = dense("f32", (2, 3))
REFUSED: list[Any] = [
    (lambda: pointwise.flatten_when_dense(Y, [dense("f32", (2,))]), ShapeError, "an operand must broadcast to [2, 3]; got [2]"),
    (lambda: pointwise.copy(Y, dense("f32", (3, 2)), target=CPU), ShapeError, "an operand must broadcast to [2, 3]; got [3, 2]"),
    (lambda: pointwise.pointwise(dense("f32", (2,) * 7), (), make_slot("1.0", Y, ()), target=CPU), UnsupportedError,
     "pointwise: y must have at most 6 dims after merging; got [2, 2, 2, 2, 2, 2, 2]"),
    (lambda: pointwise.pointwise(Y, (Y,), make_slot("1.0", Y, ()), target=CPU), ShapeError,
     "pointwise: the slot must have the operands ['f32[2,3]']; got []"),
    (lambda: pad.pad2d(dense("f32", (1, 1, 2, 2)), dense("f32", (1, 1, 2, 2)), padding=(1, 0, 0, 0), target=CPU), ShapeError,
     "pad2d: y must be [1, 1, 3, 2], x [1, 1, 2, 2] padded by [1, 0, 0, 0]; got [1, 1, 2, 2]"),
    (lambda: pad.border2d(dense("f32", (1, 1, 2, 2)), padding=(2, 1, 0, 0), target=CPU), ShapeError,
     "border2d: padding must fit into y [1, 1, 2, 2], and not crop; got [2, 1, 0, 0]"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "sentence"), REFUSED)
def test_a_refusal_is_one_sentence(call: Any, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == sentence
