"""matmul, with column sums and split reductions, against torch in f64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.cases import assert_exact, assert_within, examples, execute, floats, integers, layouts, seeds
from tests.kernels.run import place
from tests.targets import CPU, CUDA
from tritoncnn.errors import DTypeError, ShapeError, UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.matmul import Tile, matmul, pick_tile
from tritoncnn.kernels.sum_parts import parts_type, sum_parts
from tritoncnn.ops.slot import make_slot

dense = TensorType.dense
sizes = st.sampled_from((0, 1, 2, 3, 7, 10, 16, 33, 65))


@examples(25)
@given(sizes, sizes, sizes, st.data(), seeds, st.booleans(), st.booleans())
def test_matmul_agrees_with_torch(
    M: int, N: int, K: int, data: st.DataObject, seed: int, summed: bool, wide: bool
) -> None:
    y_type, a_type, b_type = (data.draw(layouts(shape)) for shape in ((M, N), (M, K), (K, N)))
    s_type = data.draw(layouts((N,)))
    tile = data.draw(st.sampled_from((None, None, Tile(16, 8, 16, 1), Tile(4, 16, 8, 2), Tile(16, 16, 4, 5))))
    launches = matmul(y_type, a_type, b_type, sums=s_type if summed else None, tile=tile, target=CPU)
    for kind in (integers, floats):
        a, b = place(a_type, kind((M, K), seed)), place(b_type, kind((K, N), seed + 1))
        y, *sums = execute(launches, [y_type, s_type] if summed else [y_type], [a, b], wide=wide)
        wanted, total = a.double() @ b.double(), b.double().sum(0)
        if kind is integers:
            assert_exact(y, wanted)
            assert not summed or torch.equal(sums[0].double(), total)
        else:
            assert_within(y, wanted, a.double().abs() @ b.double().abs(), K)
            for found in sums:
                assert_within(found, total, b.double().abs().sum(0), K)


@examples(12)
@given(st.data(), st.lists(st.sampled_from((1, 2, 3)), max_size=4), sizes, sizes, sizes, seeds, st.booleans())
def test_batches_broadcast(data: st.DataObject, lead: list[int], M: int, N: int, K: int, seed: int, wide: bool) -> None:
    """Any dims of a batch may be 1, or missing in front, in one of the factors; an epilogue sees the place in the batch."""

    def drawn() -> list[int]:
        kept = [data.draw(st.sampled_from((1, n))) for n in lead]
        return kept[data.draw(st.integers(0, len(lead))) :]

    a_lead = drawn()
    b_lead = lead if data.draw(st.booleans()) or list(torch.broadcast_shapes(a_lead, lead)) != lead else drawn()
    shape = (*torch.broadcast_shapes(a_lead, b_lead), M, N)
    y_type, a_type, b_type = (data.draw(layouts(s)) for s in (shape, (*a_lead, M, K), (*b_lead, K, N)))
    extra = data.draw(layouts([data.draw(st.sampled_from((1, n))) if n else 0 for n in shape]))
    slot = make_slot("add(acc, $0)", y_type, (extra,)) if data.draw(st.booleans()) else None
    tensors = [place(t, integers(t.shape, seed + i)) for i, t in enumerate((a_type, b_type, extra))]
    launches = matmul(y_type, a_type, b_type, epilogue=slot, target=CPU)
    (y,) = execute(launches, [y_type], tensors[:2], tensors[2:] if slot else (), wide=wide)
    a, b, more = (t.double() for t in tensors)
    assert_exact(y, a @ b + more if slot else a @ b)


@pytest.mark.parametrize("K", [1, 4])
def test_every_row_of_a_narrow_result_is_stored(K: int) -> None:
    """3 of 4 lanes in use and a second block of rows: the CPU backend once left out rows 2, 5, 10 and 13."""
    y_type, a_type, b_type = dense("f32", (17, 3)), dense("f32", (17, K)), dense("f32", (K, 3))
    a, b = place(a_type, integers((17, K), 0)), place(b_type, integers((K, 3), 1))
    (y,) = execute(matmul(y_type, a_type, b_type, target=CPU), [y_type], [a, b])
    assert_exact(y, a.double() @ b.double())


@examples(12)
@given(sizes.filter(bool), sizes.filter(bool), sizes, seeds, st.sampled_from((1, 3)), st.data())
def test_epilogue_comes_after_all_parts(M: int, N: int, K: int, seed: int, split: int, data: st.DataObject) -> None:
    y_type, a_type, b_type = data.draw(layouts((M, N))), dense("f32", (M, K)), dense("f32", (K, N))
    bias, mask = dense("f32", (N,)), data.draw(layouts((M, N)))
    slot = make_slot("mul(relu(add(acc, $0)), $1)", dense("f32", (M, N)), (bias, mask))
    launches = matmul(y_type, a_type, b_type, epilogue=slot, tile=Tile(16, 16, 16, split), target=CPU)
    tensors = [place(t, integers(t.shape, seed + i)) for i, t in enumerate((a_type, b_type, bias, mask))]
    (y,) = execute(launches, [y_type], tensors[:2], tensors[2:])
    a, b, bias_values, mask_values = (t.double() for t in tensors)
    assert_exact(y, (a @ b + bias_values).relu() * mask_values)


@pytest.mark.parametrize("dtype", ["f16"])
def test_narrow_types_accumulate_in_f32(dtype: str) -> None:
    types = dense(dtype, (7, 33)), dense(dtype, (7, 40)), dense(dtype, (40, 33))
    a, b = place(types[1], floats((7, 40), 0)), place(types[2], floats((40, 33), 1))
    (y,) = execute(matmul(*types, target=CPU), types[:1], [a, b])
    assert_within(y, a.double() @ b.double(), a.double().abs() @ b.double().abs(), 40)


def test_tiles_follow_from_sizes() -> None:
    assert pick_tile(64, 120, 400, target=CPU) == Tile(16, 64, 512)
    assert pick_tile(1, 10, 84, target=CPU) == Tile(1, 16, 128)
    assert pick_tile(10, 84, 100_000, target=CPU).SPLIT > 1, "few results, a long reduction"
    assert pick_tile(4096, 4096, 100_000, target=CPU).SPLIT == 1
    assert pick_tile(4096, 4096, 4096, target=CUDA, dtype="bf16").BLOCK_N == 128
    assert pick_tile(4096, 4096, 4096, target=CUDA).BLOCK_N == 64, "f32 needs more registers"


@examples(10)
@given(st.data(), st.integers(1, 5), seeds)
def test_sum_parts_adds_in_order(data: st.DataObject, split: int, seed: int) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), max_size=4))
    y_type, s_type = data.draw(layouts(shape)), data.draw(st.none() | layouts((data.draw(st.integers(1, 9)),)))
    parts_t = parts_type(y_type, s_type, split)
    parts = place(parts_t, floats(parts_t.shape, seed))
    y, *sums = execute(
        sum_parts(y_type, s_type, parts_t, target=CPU), [y_type, s_type] if s_type else [y_type], [parts]
    )
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert torch.equal(y, total[: y_type.numel].reshape(shape))
    assert not sums or torch.equal(sums[0], total[y_type.numel :])


def _matmul(*types: TensorType, **words: Any) -> Any:
    return lambda: matmul(*types, **words, target=CPU)


A, B = dense("f32", (2, 3)), dense("f32", (3, 4))
REFUSED = [
    (_matmul(A, A, dense("f32", (4, 3))), ShapeError, "matmul: b must have 3 rows, as a [2, 3] has columns; got [4, 3]"),
    (_matmul(A, A, B), ShapeError, "matmul: y must be [2, 4], from a [2, 3] and b [3, 4]; got [2, 3]"),
    (_matmul(dense("f32", (2, 4)), A, B.with_dtype("bf16")), DTypeError, "matmul: b must be f32, as a is; got bf16"),
    (_matmul(dense("f64", (2, 4)), A, B), DTypeError, "matmul: y must be one of f32, f16, bf16; got f64"),
    (_matmul(dense("f32", (2,)), A, B), ShapeError, "matmul: y must have at least 2 dims; got [2]"),
    (_matmul(dense("f32", (5, 2, 4)), A, B, sums=dense("f32", (4,))), ShapeError,
     "matmul: y must have 2 dims beside sums; got [5, 2, 4]"),
    (_matmul(dense("f32", (1,) * 5 + (2, 4)), A, B), UnsupportedError,
     "matmul: y must have at most 6 dims; got [1, 1, 1, 1, 1, 2, 4]"),
    (_matmul(dense("f32", (2, 4)), A, B, sums=dense("f32", (3,))), ShapeError,
     "matmul: sums must be [4], one per column of b; got [3]"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "sentence"), REFUSED)
def test_a_refusal_is_one_sentence(call: Any, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == sentence
