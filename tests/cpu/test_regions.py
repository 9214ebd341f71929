"""Reductions and scans of the CPU backend with combiners of every kind: several operands, functions, branches, ties."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import triton
import triton.language as tl

from tritoncnn.cpu.lower import lower
from tritoncnn.errors import UnsupportedError

from . import harness
from .harness import of_tile

LANES = (16, 4)
SHAPES = [(16, 4), (4, 32), (1, 64), (64, 1), (2, 2)]


@triton.jit
def log_add(a, b):
    m = tl.maximum(a, b)
    return m + tl.log(tl.exp(a - m) + tl.exp(b - m))


@triton.jit
def larger_in_size(a, b):
    return tl.where(tl.abs(a) >= tl.abs(b), a, b)


@triton.jit
def with_branch(a, b):
    if a > b:
        c = a * 2 - a
    else:
        c = b
    return c


@triton.jit
def either(a, b):
    return a | b


@triton.jit
def nan_max(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def with_loop(a, b):
    for _ in range(b):
        a = a * 3 + b
    return a


def fold(x: torch.Tensor, axis: int, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    rows = x.unbind(axis)
    total = rows[0]
    for row in rows[1:]:
        total = function(total, row)
    return total


def prefixes(
    x: torch.Tensor, axis: int, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    out = [x.unbind(axis)[0]]
    for row in x.unbind(axis)[1:]:
        out.append(function(out[-1], row))
    return torch.stack(out, axis)


COMBINERS = {
    "log_add": (log_add, torch.logaddexp, torch.float32),
    "size": (larger_in_size, lambda a, b: torch.where(a.abs() >= b.abs(), a, b), torch.float32),
    "branch": (with_branch, torch.maximum, torch.float32),
    "branch64": (with_branch, torch.maximum, torch.int64),
    "half": (with_branch, torch.maximum, torch.float16),
    "or": (either, torch.bitwise_or, torch.int8),
    "any": (either, torch.bitwise_or, torch.bool),
    "nan": (nan_max, torch.maximum, torch.float32),
}


def numbers(dtype: torch.dtype, shape: tuple[int, ...], name: str) -> torch.Tensor:
    torch.manual_seed(5)
    x = torch.randint(0, 2, shape).bool() if dtype == torch.bool else (torch.randn(shape) * 20).to(dtype)
    return torch.where(torch.rand(shape) < 0.05, torch.nan, x) if name == "nan" else x


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", list(COMBINERS))
def test_a_reduction_takes_any_function_of_two_values(name: str, axis: int, lanes: int) -> None:
    combine, torch_op, dtype = COMBINERS[name]
    for m, n in SHAPES:
        x = numbers(dtype, (m, n), name)
        expected = fold(x, axis, torch_op)
        y = of_tile(f"tl.reduce(x, {axis}, combine)", x, torch.zeros_like(expected), lanes, combine=combine)
        tolerance = 1e-5 if name == "log_add" else 0  # exp and log of 2 ulp, 64 times at most
        torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", list(COMBINERS))
def test_a_scan_takes_any_function_of_two_values(name: str, axis: int, reverse: bool) -> None:
    combine, torch_op, dtype = COMBINERS[name]
    for m, n in SHAPES:
        x = numbers(dtype, (m, n), name)
        expected = prefixes(x.flip(axis), axis, torch_op).flip(axis) if reverse else prefixes(x, axis, torch_op)
        text = f"tl.associative_scan(x, {axis}, combine, reverse={reverse})"
        y = of_tile(text, x, torch.zeros_like(x), combine=combine)
        tolerance = 1e-5 if name == "log_add" else 0
        torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


@triton.jit
def welford(mean0, square0, count0, mean1, square1, count1):
    """Chan, Golub, LeVeque 1979: the moments of two parts together."""
    count = count0 + count1
    delta = mean1 - mean0
    part = tl.where(count == 0, 0.0, count1 / count)
    return mean0 + delta * part, square0 + square1 + delta * delta * count0 * part, count


@triton.jit
def variance_kernel(Y, X, M: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, M)
    x = tl.load(X + i[:, None] * N + tl.arange(0, N)[None, :])
    ones = tl.full([M, N], 1.0, tl.float32)
    mean, square, count = tl.reduce((x, x * 0, ones), 1, welford)
    tl.store(Y + i, mean)
    tl.store(Y + M + i, square / (count - 1))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(("m", "n"), [(1, 256), (16, 32), (64, 4)])
def test_a_reduction_takes_several_tensors_at_once(m: int, n: int, lanes: int) -> None:
    x, y = torch.randn(m, n) + 3, torch.zeros(2, m)
    harness.run(variance_kernel, (1,), {"Y": y, "X": x}, lanes, M=m, N=n)
    torch.testing.assert_close(y, torch.stack([x.mean(1), x.var(1)]), rtol=1e-5, atol=1e-5)


@triton.jit
def affine(a0, b0, a1, b1):
    return a0 * a1, b0 * a1 + b1


@triton.jit
def recurrence_kernel(Y, Z, A, B, M: tl.constexpr, N: tl.constexpr, AXIS: tl.constexpr, REVERSE: tl.constexpr):
    at = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    a, b = tl.associative_scan((tl.load(A + at), tl.load(B + at)), AXIS, affine, reverse=REVERSE)
    tl.store(Y + at, a)
    tl.store(Z + at, b)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("rows", "axis"), [(8, 0), (8, 1), (1, 1)])
def test_a_scan_of_pairs_keeps_their_order(rows: int, axis: int, reverse: bool, lanes: int) -> None:
    a, b = torch.randint(-1, 2, (rows, 32)).float(), torch.randint(-9, 9, (rows, 32)).float()
    y, z = torch.zeros(rows, 32), torch.zeros(rows, 32)
    args = {"Y": y, "Z": z, "A": a, "B": b}
    harness.run(recurrence_kernel, (1,), args, lanes, M=rows, N=32, AXIS=axis, REVERSE=reverse)
    if reverse:
        a, b = a.flip(axis), b.flip(axis)
    state, product, states = torch.zeros(a.select(axis, 0).shape), torch.ones(a.select(axis, 0).shape), []
    products = []
    for p, q in zip(a.unbind(axis), b.unbind(axis), strict=True):
        state, product = state * p + q, product * p
        states.append(state)
        products.append(product)
    expected_z, expected_y = torch.stack(states, axis), torch.stack(products, axis)
    assert torch.equal(z, expected_z.flip(axis) if reverse else expected_z)
    assert torch.equal(y, expected_y.flip(axis) if reverse else expected_y)


@triton.jit
def shape_kernel(Y, X, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, AXIS: tl.constexpr, OP: tl.constexpr):
    a, b, c = tl.arange(0, A)[:, None, None], tl.arange(0, B)[None, :, None], tl.arange(0, C)[None, None, :]
    x = tl.load(X + (a * B + b) * C + c)
    if OP == "sum":
        y = tl.sum(x, AXIS, keep_dims=True)
    elif OP == "max":
        y = tl.max(x, AXIS, keep_dims=True)
    elif OP == "scan":
        y = tl.cumsum(x, AXIS)
    else:
        y = tl.associative_scan(x, AXIS, with_branch, reverse=True)
    tl.store(Y + (a * B + b) * C + c, tl.broadcast_to(y, [A, B, C]))


@pytest.mark.parametrize("op", ["sum", "max", "scan", "back"])
@pytest.mark.parametrize("axis", [0, 1, 2, None])
def test_every_axis_of_three_and_dimensions_kept(axis: int | None, op: str) -> None:
    if axis is None and op in ("scan", "back"):
        pytest.skip("a scan needs an axis")
    x, y = torch.randint(-9, 9, (4, 2, 8)).float(), torch.zeros(4, 2, 8)
    harness.run(shape_kernel, (1,), {"Y": y, "X": x}, A=4, B=2, C=8, AXIS=axis, OP=op)
    axes = (0, 1, 2) if axis is None else axis
    expected = {
        "sum": lambda: x.sum(axes, keepdim=True).expand(4, 2, 8),
        "max": lambda: x.amax(axes, keepdim=True).expand(4, 2, 8),
        "scan": lambda: x.cumsum(axis),
        "back": lambda: x.flip(axis).cummax(axis).values.flip(axis),
    }[op]()
    assert torch.equal(y, expected)


@triton.jit
def tie_kernel(V, I, X, N: tl.constexpr, OP: tl.constexpr, LEFT: tl.constexpr):
    x = tl.load(X + tl.arange(0, N))
    if OP == "max":
        v, i = tl.max(x, 0, return_indices=True, return_indices_tie_break_left=LEFT)
    else:
        v, i = tl.min(x, 0, return_indices=True, return_indices_tie_break_left=LEFT)
    tl.store(V, v)
    tl.store(I, i)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.int64, torch.float16])
@pytest.mark.parametrize("op", ["max", "min"])
@pytest.mark.parametrize("n", [2, 16, 128, 512])
def test_the_first_of_equal_elements_wins_or_any_where_asked(n: int, op: str, dtype: torch.dtype, lanes: int) -> None:
    x = torch.randint(-3, 3, (n,)).to(dtype)
    best = x.max() if op == "max" else x.min()
    value, index = torch.zeros(1, dtype=dtype), torch.zeros(1, dtype=torch.int32)
    for left in (True, False):
        harness.run(tie_kernel, (1,), {"V": value, "I": index, "X": x}, lanes, N=n, OP=op, LEFT=left)
        assert value.item() == best
        assert x[index.item()] == best
        assert index.item() == int((x == best).int().argmax()) or not left


def test_a_loop_inside_of_a_combiner_is_refused_by_name_and_line() -> None:
    looped = harness.function("x", "tl.reduce(x, 1, combine)", combine=with_loop)
    text = harness.ttir(harness.tile_kernel, {"Y": "*i32", "X": "*i32"}, {"M": 4, "N": 4, "F": looped})
    with pytest.raises(UnsupportedError, match=r"scf\.for at .*test_regions\.py:\d+: only arithmetic and branches"):
        lower(text, lanes=16)


@triton.jit
def gcd_step(a, b, c):
    if b == 0:
        q, r = a, c
    else:
        q, r = b, a % b
    return q, r


@triton.jit
def map_kernel(Y, Z, A, B, N: tl.constexpr):
    at = tl.arange(0, N)
    y, z = tl.map_elementwise(gcd_step, tl.load(A + at), tl.load(B + at), at)
    tl.store(Y + at, y)
    tl.store(Z + at, z)


@pytest.mark.skipif(not hasattr(tl, "map_elementwise"), reason="this Triton has no map_elementwise")
@pytest.mark.parametrize("lanes", LANES)
def test_a_function_with_a_branch_is_mapped_over_elements(lanes: int) -> None:
    a, b = torch.randint(0, 9, (64,), dtype=torch.int32), torch.randint(0, 3, (64,), dtype=torch.int32)
    y, z = torch.zeros_like(a), torch.zeros_like(a)
    harness.run(map_kernel, (1,), {"Y": y, "Z": z, "A": a, "B": b}, lanes, N=64)
    assert torch.equal(y, torch.where(b == 0, a, b))
    assert torch.equal(z, torch.where(b == 0, torch.arange(64), a % b.clamp(min=1)))
