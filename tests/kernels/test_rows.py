"""softmax, cross entropy, norms of rows and reductions against torch in f64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from triton import knobs

from tests.kernels.cases import (
    UNIT,
    assert_exact,
    assert_within,
    examples,
    execute,
    floats,
    integers,
    layouts,
    seeds,
    widened,
)
from tests.kernels.run import place, run, surroundings_intact
from tests.targets import CPU
from tritoncnn.errors import DTypeError, ShapeError, UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.kernels import reduce as reduction
from tritoncnn.kernels import row_norm as norm
from tritoncnn.kernels import softmax_cross_entropy as xent

dense = TensorType.dense


def close(result: torch.Tensor, wanted: torch.Tensor, rounding: int) -> None:
    """Within ``rounding`` units, relative or of 1: logits are around 1, exp and log are good to a few units."""
    torch.testing.assert_close(result.double(), wanted, rtol=rounding * UNIT, atol=rounding * UNIT, equal_nan=True)


@examples(20)
@given(st.sampled_from((0, 1, 5, 67)), st.sampled_from((1, 2, 33, 300)), st.data(), seeds, st.booleans())
def test_norms_of_rows_agree_with_torch(N: int, C: int, data: st.DataObject, seed: int, wide: bool) -> None:
    x_type, y_type, mean_type, var_type = (data.draw(layouts(shape)) for shape in ((N, C), (N, C), (N, 1), (N, 1)))
    tile = data.draw(st.sampled_from((None, norm.Tile(1), norm.Tile(4))))
    x = place(x_type, floats((N, C), seed) * 2 + 1)
    launch = norm.row_norm(y_type, mean_type, var_type, x_type, eps=1e-5, tile=tile, target=CPU)
    y, mean, var = execute(launch, [y_type, mean_type, var_type], [x], wide=wide)
    exact = x.double()
    wanted = exact.mean(1, keepdim=True)
    spread = (exact - wanted).square().mean(1, keepdim=True)
    # Sums of C terms below 16, and then of their squares; a row of equal numbers has a root of eps, which divides errors.
    close(mean, wanted, 16 * C + 16)
    close(var, spread, 64 * C + 64)
    close(y * (var + 1e-5).sqrt(), exact - wanted, 64 * C + 64)


def test_rows_that_are_too_long_for_a_norm_are_refused() -> None:
    long, one = dense("f32", (2, 20000)), dense("f32", (2, 1))
    with pytest.raises(UnsupportedError, match=r"row_norm: x must have 1 to 16384 columns; got \[2, 20000\]"):
        norm.row_norm(long, one, one, long, eps=1e-5, target=CPU)
    with pytest.raises(ShapeError, match="row_norm: mean must be"):
        norm.row_norm(dense("f32", (2, 3)), dense("f32", (2, 3)), one, dense("f32", (2, 3)), eps=1e-5, target=CPU)


def entropies(
    x_type: TensorType, t_type: TensorType, x: torch.Tensor, target: torch.Tensor, dx_type: TensorType | None,
    wide: bool = False, **options: Any,
) -> list[torch.Tensor]:  # fmt: skip
    """The loss, and the gradient if its type is given. Fails when something was written beside a result."""
    loss_type = dense("f32", ())
    launches, workspaces = xent.softmax_cross_entropy(loss_type, dx_type, x_type, t_type, **options, target=CPU)
    results = [place(t) for t in (loss_type, *([] if dx_type is None else [dx_type]))]
    operands, spaces = [x, place(t_type, target)], [place(t) for t in workspaces]
    if not spaces:
        run(widened(launches[0], wide), *results, *operands)
    else:
        *count, rows, last = (widened(launch, wide) for launch in launches)
        for launch in count:
            run(launch, spaces[1], operands[1])
        run(rows, spaces[0], *results[1:], *operands, *spaces[1:])
        run(last, results[0], spaces[0])
    assert all(surroundings_intact(t) for t in (*results, *spaces))
    return results


@examples(20)
@given(
    st.sampled_from((0, 1, 5, 64, 67)), st.sampled_from((1, 2, 10, 33)), st.data(), seeds, st.booleans(), st.booleans()
)
def test_cross_entropy_and_its_gradient_agree_with_torch(
    N: int, C: int, data: st.DataObject, seed: int, gradient: bool, wide: bool
) -> None:
    x_type, dx_type, t_type = (
        data.draw(layouts((N, C))),
        data.draw(layouts((N, C))),
        data.draw(layouts((N,), dtype="i64")),
    )
    kind = data.draw(st.sampled_from(("mean", "sum")))
    tile = data.draw(st.sampled_from((None, xent.Tile(4), xent.Tile(16, True))))
    ignored = data.draw(st.sampled_from((-100, 0, 255)))
    x = place(x_type, floats((N, C), seed) * 4)
    target = torch.randint(0, C, (N,), generator=torch.Generator().manual_seed(seed))
    target[::3] = ignored
    loss, *dx = entropies(
        x_type, t_type, x, target, dx_type if gradient else None, wide, reduction=kind, tile=tile, ignore_index=ignored
    )
    leaf = x.double().requires_grad_()
    wanted = xent.softmax_cross_entropy_torch(leaf, target, kind, ignored)
    wanted.backward()
    close(loss, wanted.detach(), 16 * max(N, 1) if kind == "sum" else 64)
    for found in dx:
        assert leaf.grad is not None
        close(found, leaf.grad, 32)


@pytest.mark.parametrize(("N", "C"), [(300, 600), (600, 33)] if knobs.runtime.interpret else [(1100, 600), (9000, 33)])
def test_many_rows_are_added_up_in_a_bounded_number_of_parts(N: int, C: int) -> None:
    x_type, t_type = dense("f32", (N, C)), dense("i64", (N,))
    x, target = floats((N, C), 0), torch.randint(0, C, (N,), generator=torch.Generator().manual_seed(0))
    target[::7] = -100
    parts, _ = xent.softmax_cross_entropy(dense("f32", ()), x_type, x_type, t_type, target=CPU)[1]
    assert 1 < parts.shape[0] <= xent.PARTS
    loss, dx = entropies(x_type, t_type, place(x_type, x), target, x_type)
    leaf = x.double().requires_grad_()
    wanted = xent.softmax_cross_entropy_torch(leaf, target)
    wanted.backward()
    assert leaf.grad is not None
    close(loss, wanted.detach(), 64)
    close(dx, leaf.grad, 32)


@pytest.mark.parametrize("tile", [xent.Tile(2, True), xent.Tile(2)])
def test_the_mean_of_no_rows_is_nan_and_moves_nothing(tile: xent.Tile) -> None:
    x_type, t_type = dense("f32", (5, 3)), dense("i64", (5,))
    x, target = place(x_type, floats((5, 3), 0)), torch.full((5,), -100)
    loss, dx = entropies(x_type, t_type, x, target, x_type, tile=tile)
    assert bool(loss.isnan())
    assert_exact(dx, torch.zeros(5, 3).double())
    assert float(entropies(x_type, t_type, x, target, x_type, tile=tile, reduction="sum")[0]) == 0.0


def test_large_logits_do_not_overflow() -> None:
    x_type, t_type = dense("f32", (2, 3)), dense("i64", (2,))
    x = place(x_type, torch.tensor([[1e4, -1e4, 0.0], [-3e38, 3e38, 0.0]]))
    loss, dx = entropies(x_type, t_type, x, torch.tensor([0, 1]), x_type)
    assert float(loss) == 0.0
    assert_exact(dx, torch.zeros(2, 3).double())


@pytest.mark.parametrize("bad", [-1, 3, 2**40, -(2**62)])
@pytest.mark.parametrize("tile", [xent.Tile(2, True), xent.Tile(2)])
def test_a_target_out_of_range_gives_nan_and_reads_nothing_outside(bad: int, tile: xent.Tile) -> None:
    x_type, t_type = dense("f32", (4, 3)), dense("i64", (4,))
    x, target = place(x_type, floats((4, 3), 0)), torch.tensor([0, bad, 2, 1])
    loss, dx = entropies(x_type, t_type, x, target, x_type, tile=tile)
    assert bool(loss.isnan())
    assert dx.isnan().all(1).tolist() == [False, True, False, False]


@examples(12)
@given(st.sampled_from((0, 1, 5, 65)), st.sampled_from((1, 3, 10, 100)), st.data(), seeds, st.booleans())
def test_softmax_agrees_with_torch(N: int, C: int, data: st.DataObject, seed: int, wide: bool) -> None:
    y_type, x_type = data.draw(layouts((N, C))), data.draw(layouts((N, C)))
    x = place(x_type, floats((N, C), seed) * 4)
    (y,) = execute(xent.softmax(y_type, x_type, target=CPU), [y_type], [x], wide=wide)
    close(y, xent.softmax_torch(x.double()), 16)


@examples(30)
@given(st.lists(st.sampled_from((1, 2, 3, 5, 17)), max_size=4), st.data(), seeds, st.booleans())
def test_reductions_agree_with_torch(shape: list[int], data: st.DataObject, seed: int, wide: bool) -> None:
    dims = data.draw(st.lists(st.sampled_from(range(len(shape))), unique=True)) if shape else []
    kind = data.draw(st.sampled_from(reduction.KINDS))
    x_type = data.draw(layouts(shape, (0, 2, 3, 1) if len(shape) == 4 else None))
    y_type = data.draw(layouts([size for d, size in enumerate(shape) if d not in dims]))
    tile = data.draw(st.sampled_from((None, None, reduction.Tile(4, 8), reduction.Tile(2, 4, 3))))
    launches = reduction.reduce(y_type, x_type, dims, kind=kind, tile=tile, target=CPU)
    count = x_type.numel // max(y_type.numel, 1)

    def wanted(values: torch.Tensor) -> torch.Tensor:
        return reduction.reduce_torch(values, dims, kind) if dims else values

    for make in (integers, floats):
        x = place(x_type, make(shape, seed))
        (y,) = execute(launches, [y_type], [x], wide=wide)
        if (make is integers and kind != "mean") or kind == "max":
            assert_exact(y, wanted(x.double()))
        else:
            assert_within(y, wanted(x.double()), wanted(x.double().abs()), count + 2)


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((5000,), (0,)),
        ((3, 40_000), (1,)),
        ((40_000, 3), (0,)),
        ((70, 2, 300), (0, 2)),
        ((9000, 96), (0,)),
        ((2, 3000, 64), (1,)),
    ],
)
def test_long_reductions_are_split(shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
    x_type = dense("f32", shape)
    kept = [size for d, size in enumerate(shape) if d not in dims]
    y_type, x = dense("f32", kept), place(x_type, integers(shape, 0))
    launches = reduction.reduce(y_type, x_type, dims, target=CPU)
    (y,) = execute(launches, [y_type], [x])
    assert_exact(y, x.double().sum(dims))
    assert shape == (5000,) or len(launches[0]) == 2


def test_nothing_reduces_to_the_neutral_element() -> None:
    x_type, y_type = dense("f32", (0, 3)), dense("f32", (3,))
    for kind, wanted in (("sum", 0.0), ("mean", float("nan")), ("max", float("-inf"))):
        (y,) = execute(reduction.reduce(y_type, x_type, (0,), kind=kind, target=CPU), [y_type], [place(x_type)])
        assert_exact(y, torch.full((3,), wanted).double())


def test_nan_wins_a_max() -> None:
    x_type, y_type = dense("f32", (2, 40)), dense("f32", (2,))
    values = floats((2, 40), 0)
    values[1, 7] = float("nan")
    (y,) = execute(reduction.reduce(y_type, x_type, (1,), kind="max", target=CPU), [y_type], [place(x_type, values)])
    assert_exact(y, values.amax(1))


X, T, L = dense("f32", (4, 3)), dense("i64", (4,)), dense("f32", ())
REFUSED = [
    (lambda: xent.softmax_cross_entropy(L, None, X, dense("i64", (3,)), target=CPU), ShapeError,
     "softmax_cross_entropy: target must be [4], one class per row of x [4, 3]; got [3]"),
    (lambda: xent.softmax_cross_entropy(L, None, X, dense("i32", (4,)), target=CPU), DTypeError,
     "softmax_cross_entropy: target must be i64; got i32"),
    (lambda: xent.softmax(dense("f32", (4, 0)), dense("f32", (4, 0)), target=CPU), UnsupportedError,
     "softmax: x must have 1 to 65536 classes; got [4, 0]"),
    (lambda: reduction.reduce(L, X, (0, 0), target=CPU), ShapeError, "sum: dims must be different dims of x [4, 3]; got [0, 0]"),
    (lambda: reduction.reduce(L, X, (0,), target=CPU), ShapeError, "sum: y must be [3], from x [4, 3] without dims [0]; got []"),
    (lambda: reduction.reduce(L, T, (0,), kind="max", target=CPU), DTypeError, "max: x must be one of f32, f16, bf16; got i64"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "sentence"), REFUSED)
def test_a_refusal_is_one_sentence(call: Any, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == sentence


def test_sums_over_pixels_read_whole_rows_of_channels() -> None:
    def tile(channels: int, pixels: int, samples: int = 1) -> reduction.Tile:
        return reduction.pick_tile(samples * channels, pixels, False, CPU, channels)

    assert tile(64, 50_176) == reduction.Tile(64, 32, 16)
    assert tile(96, 12_544).BLOCK_KEEP == 128, "all of a row, if few lanes are idle"
    assert tile(144, 12_544).BLOCK_KEEP == 16, "else pieces of it"
    assert tile(192, 784, samples=4) == reduction.Tile(64, 32, 1), "no lanes of two samples"
