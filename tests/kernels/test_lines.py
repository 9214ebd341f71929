"""argsort, scan, and take and put of whole numbers, along one dim of tensors of any layout, against torch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.cases import examples, execute, layouts, seeds
from tests.kernels.run import place
from tests.targets import CPU
from tritoncnn.errors import DTypeError, ShapeError, UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.argsort import argsort
from tritoncnn.kernels.pointwise import Tile
from tritoncnn.kernels.scan import scan
from tritoncnn.kernels.take import put, take
from tritoncnn.testing.arena import DTYPES

dense = TensorType.dense
shapes = st.lists(st.sampled_from((0, 1, 2, 3, 7)), min_size=1, max_size=4)
tiles = st.sampled_from((None, None, Tile(1, 4), Tile(4, 8)))


def values(dtype: str, shape: list[int], seed: int) -> torch.Tensor:
    """Few different numbers, so that many are equal; of floats also zeros of both signs, infinities and NaN."""
    generator = torch.Generator().manual_seed(seed)
    if dtype[0] in "ui":
        return torch.randint(0 if dtype[0] == "u" else -3, 2 if dtype == "i1" else 4, shape, generator=generator)
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1.5, -1.5, 2.0])
    return special[torch.randint(0, len(special), shape, generator=generator)]


@examples(25)
@given(st.data(), shapes, st.sampled_from(("f32", "bf16", "i64", "i32", "u8", "i1")), tiles, seeds, st.booleans())
def test_argsort_is_torchs_stable_sort(
    data: st.DataObject, shape: list[int], dtype: str, tile: Tile | None, seed: int, wide: bool
) -> None:
    dim, descending = data.draw(st.integers(0, len(shape) - 1)), data.draw(st.booleans())
    size = data.draw(st.integers(0, shape[dim]))
    x_type = data.draw(layouts(shape, dtype=dtype))
    y_type = data.draw(layouts([*shape[:dim], size, *shape[dim + 1 :]], dtype="i64"))
    x = place(x_type, values(dtype, shape, seed).to(DTYPES[dtype]))
    (y,) = execute(argsort(y_type, x_type, dim, descending=descending, tile=tile, target=CPU), [y_type], [x], wide=wide)
    wanted = torch.sort(x, dim=dim, descending=descending, stable=True).indices.narrow(dim, 0, size)
    assert torch.equal(y, wanted)


@examples(25)
@given(st.data(), shapes, st.sampled_from(("f32", "i64", "u8")), st.sampled_from(("sum", "prod", "max")), tiles, seeds)
def test_scan_runs_either_way(
    data: st.DataObject, shape: list[int], dtype: str, kind: str, tile: Tile | None, seed: int
) -> None:
    dim, reverse, exclusive = (
        data.draw(st.integers(0, len(shape) - 1)),
        data.draw(st.booleans()),
        data.draw(st.booleans()),
    )
    x_type = data.draw(layouts(shape, dtype=dtype))
    y_type = data.draw(layouts(shape, dtype=dtype if dtype == "f32" else "i64"))
    x = place(x_type, values("i64" if dtype == "f32" else dtype, shape, seed).to(DTYPES[dtype]))
    (y,) = execute(
        scan(y_type, x_type, dim, kind=kind, reverse=reverse, exclusive=exclusive, tile=tile, target=CPU), [y_type], [x]
    )
    line = (x.flip(dim) if reverse else x).to(torch.float64 if dtype == "f32" else torch.int64)
    if exclusive and shape[dim]:
        least = -math.inf if dtype == "f32" else -(2**63)
        first = torch.full_like(line.narrow(dim, 0, 1), {"sum": 0, "prod": 1, "max": least}[kind])
        line = torch.cat((first, line.narrow(dim, 0, shape[dim] - 1)), dim)
    wanted = {"sum": line.cumsum, "prod": line.cumprod, "max": lambda dim: line.cummax(dim).values}[kind](dim)
    assert torch.equal(y, (wanted.flip(dim) if reverse else wanted).to(y.dtype))


def test_running_maxima_and_logarithms_hold_what_is_not_finite() -> None:
    x = torch.tensor([-math.inf, -math.inf, 1.0, -80.0, 90.0, 89.5, math.inf, 2.0, math.nan, 3.0])
    for kind, wanted in (("max", x.cummax(0).values), ("logsumexp", x.double().logcumsumexp(0).float())):
        (y,) = execute(
            scan(dense("f32", x.shape), dense("f32", x.shape), 0, kind=kind, target=CPU), [dense("f32", x.shape)], [x]
        )
        torch.testing.assert_close(y, wanted, rtol=2**-24, atol=0.0, equal_nan=True)


def test_a_long_running_sum_loses_less_than_f32_would() -> None:
    """Adding 0.1 a thousand times in f32 is off by 50 units in the last place; here each sum is the exact one, rounded once."""
    x = torch.full((1000,), 0.1)
    (y,) = execute(scan(dense("f32", x.shape), dense("f32", x.shape), 0, target=CPU), [dense("f32", x.shape)], [x])
    torch.testing.assert_close(y, x.double().cumsum(0).float(), rtol=2**-24, atol=0.0)


@pytest.mark.parametrize("dtype", ["i64", "i32", "u8"])
def test_whole_numbers_stay_exact(dtype: str) -> None:
    """Where f32 would round: sums at places, and the largest of numbers that f32 cannot tell apart."""
    large = 200 if dtype == "u8" else 2**30 + 1
    x = torch.tensor([[large, large - 1, 3], [large - 2, large, 5]], dtype=DTYPES[dtype])
    types = dense(dtype, (2, 3)), dense("i64", (1, 3)), dense(dtype, (2, 2))
    index = torch.tensor([[0, 1, 1]])
    (y,) = execute(put(types[2], types[0], types[1], 1, target=CPU), [types[2]], [x, index])
    assert torch.equal(y, torch.zeros_like(y).scatter_add(1, index.expand(2, 3), x))
    table = torch.arange(3, dtype=torch.int32)[:, None]
    best, at = dense(dtype, (2, 1)), dense("i64", (2, 1))
    launch = take(best, types[0], dense("i32", (3, 1)), 1, at=at, taps=True, target=CPU)
    y, places = execute(launch, [best, at], [x, table])
    assert torch.equal(y[:, 0], x.max(1)[0])
    assert torch.equal(places[:, 0], x.max(1)[1])


LINE, LONG = dense("f32", (3, 4)), dense("i64", (3, 4))
REFUSED = [
    (lambda: argsort(LINE, LINE, 1, target=CPU), DTypeError, "argsort: y must be i64 and x not f64; got f32 and f32"),
    (lambda: argsort(dense("i64", (3, 5)), LINE, 1, target=CPU), ShapeError,
     "argsort: y must be [3, 4], at most x's size along dim; got [3, 5]"),
    (lambda: scan(LINE, LONG, 1, target=CPU), DTypeError, "scan: y must be i64 for x i64; got f32"),
    (lambda: scan(LINE, LINE, 1, kind="mean", target=CPU), ShapeError,
     "scan: kind must be one of sum, prod, max, logsumexp; got 'mean'"),
    (lambda: scan(LONG, LONG, 1, kind="logsumexp", target=CPU), DTypeError, "scan: x must hold floats for logsumexp; got i64"),
    (lambda: put(dense("bf16", (3, 4)), LINE, LONG, 1, target=CPU), DTypeError,
     "put: y must be f32, in which sums are exact enough, or whole numbers; got bf16"),
    (lambda: put(dense("i32", (3, 4)), LONG, LONG, 1, target=CPU), DTypeError, "put: y must be i64, as x is; got i32"),
    (lambda: scan(*(TensorType("f32", (2,) * 7, (3**9, 3**7, 3**6, 3**4, 3**3, 9, 1)),) * 2, 6, target=CPU), UnsupportedError,
     "scan: at most 5 dims that cannot be merged; got [2, 2, 2, 2, 2, 2]"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "sentence"), REFUSED)
def test_a_refusal_is_one_sentence(call: object, kind: type[Exception], sentence: str) -> None:
    assert callable(call)
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == sentence
