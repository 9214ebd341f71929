"""Reductions and scans of the CPU backend."""

from __future__ import annotations

import re
from functools import reduce

import pytest
import torch
import triton
import triton.language as tl

from tritoncnn.cpu.emit.reduce import CHAINS
from tritoncnn.cpu.lower import lower

from . import harness
from .harness import of_tile

LANES = (16, 4)


REDUCTIONS = {
    "tl.sum(x, {axis})": lambda x, axis: x.sum(axis),
    "tl.max(x, {axis})": lambda x, axis: x.amax(axis),
    "tl.min(x, {axis})": lambda x, axis: x.amin(axis),
    "tl.xor_sum(x.to(tl.int32), {axis})": lambda x, axis: reduce(torch.bitwise_xor, x.int().unbind(axis)),
    # Ties go to the first.
    "tl.max(x, {axis}, return_indices=True)[1]": lambda x, axis: (x == x.amax(axis, keepdim=True)).int().argmax(axis),
    "tl.argmin(x, {axis})": lambda x, axis: (x == x.amin(axis, keepdim=True)).int().argmax(axis),
}


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("m", "n"), [(16, 4), (4, 16), (2, 64), (1, 32), (32, 1), (16, 512), (256, 8)])
def test_reductions_along_either_axis(m: int, n: int, axis: int, lanes: int) -> None:
    x = torch.randint(-9, 9, (m, n)).float()
    for text, function in REDUCTIONS.items():
        expected = function(x, axis)
        y = torch.zeros(expected.shape, dtype=torch.float32 if expected.is_floating_point() else torch.int32)
        assert torch.equal(of_tile(text.format(axis=axis), x, y, lanes), expected.to(y.dtype)), text


@triton.jit
def whole_kernel(Y, X, n, N: tl.constexpr):
    i = tl.arange(0, N)
    x = tl.load(X + i, mask=i < n, other=float("-inf"))
    m = tl.max(x, 0)
    e = tl.exp(x - m)
    s = tl.sum(e, 0)
    tl.store(Y + i, e / s, mask=i < n)
    tl.store(Y + N, m)
    tl.store(Y + N + 1, tl.log(s) + m)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("n", [1, 10, 100, 1000])
def test_softmax_of_a_row(n: int, lanes: int) -> None:
    N = triton.next_power_of_2(n)
    x, y = torch.randn(n) * 5, torch.zeros(N + 2)
    harness.run(whole_kernel, (1,), {"Y": y, "X": x, "n": n}, lanes, N=N)
    torch.testing.assert_close(y[:n], x.softmax(0), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(y[N + 1], x.logsumexp(0), rtol=1e-6, atol=1e-6)


@triton.jit
def nan_kernel(Y, X, N: tl.constexpr):
    x = tl.load(X + tl.arange(0, N))
    tl.store(Y, tl.max(x, 0))
    tl.store(Y + 1, tl.min(x, 0))


def test_extremes_leave_nan_out() -> None:
    x, y = torch.randn(64), torch.zeros(2)
    x[::3] = float("nan")
    harness.run(nan_kernel, (1,), {"Y": y, "X": x}, N=64)
    assert y.tolist() == [float(x[~x.isnan()].max()), float(x[~x.isnan()].min())]


@triton.jit
def pool_kernel(Y, I, X, M: tl.constexpr, K: tl.constexpr, OP: tl.constexpr):
    i, k = tl.arange(0, M), tl.arange(0, K)
    x = tl.load(X + i[:, None] * K + k[None, :])
    q = tl.arange(0, M // 4)
    at = q[:, None] * K + k[None, :]
    y = tl.reshape(tl.maximum(x, 0.0), [M // 4, 4, K])
    if OP == "max":
        tl.store(Y + at, tl.max(y, 1))
    elif OP == "both":
        v, j = tl.max(y, 1, return_indices=True)
        tl.store(Y + at, v)
        tl.store(I + at, j.to(tl.int8))
    else:
        tl.store(Y + at, tl.sum(y, 1) / 4)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("op", ["max", "both", "sum"])
def test_pooling_by_reshape_and_reduce(op: str, lanes: int) -> None:
    x = torch.randint(-3, 9, (32, 8)).float()
    y, index = torch.zeros(8, 8), torch.zeros(8, 8, dtype=torch.int8)
    harness.run(pool_kernel, (1,), {"Y": y, "I": index, "X": x}, lanes, M=32, K=8, OP=op)
    windows = x.relu().reshape(8, 4, 8)
    assert torch.equal(y, windows.mean(1) if op == "sum" else windows.amax(1))
    if op == "both":
        assert torch.equal(index.long(), (windows == windows.amax(1, keepdim=True)).int().argmax(1))


@triton.jit
def axis3_kernel(Y, X, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, AXIS: tl.constexpr):
    a, b, c = tl.arange(0, A), tl.arange(0, B), tl.arange(0, C)
    x = tl.load(X + (a[:, None, None] * B + b[None, :, None]) * C + c[None, None, :])
    y = tl.sum(x, AXIS)
    if AXIS == 0:
        tl.store(Y + b[:, None] * C + c[None, :], y)
    elif AXIS == 1:
        tl.store(Y + a[:, None] * C + c[None, :], y)
    else:
        tl.store(Y + a[:, None] * B + b[None, :], y)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_reductions_of_three_axes(axis: int) -> None:
    x = torch.randint(-9, 9, (4, 16, 8)).float()
    y = torch.zeros(x.sum(axis).shape)
    harness.run(axis3_kernel, (1,), {"Y": y, "X": x}, A=4, B=16, C=8, AXIS=axis)
    assert torch.equal(y, x.sum(axis))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_scans_run_in_order(axis: int, reverse: bool) -> None:
    x = torch.randint(-9, 9, (8, 32)).float()
    y = of_tile(f"tl.cumsum(x, {axis}, reverse={reverse})", x, torch.zeros(8, 32))
    assert torch.equal(y, x.flip(axis).cumsum(axis).flip(axis) if reverse else x.cumsum(axis))


@triton.jit
def several_kernel(Y, X, ROWS, M: tl.constexpr, N: tl.constexpr, AXIS: tl.constexpr):
    """Sums that may share a loop, and one that needs the first."""
    i, j = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    at = tl.arange(0, N if AXIS == 0 else M)
    x = tl.load(X + i * N + j, mask=i < ROWS, other=0.0)
    total = tl.sum(x, AXIS)
    highest = tl.max(x, AXIS)
    weighted = tl.sum(x * (i + j), AXIS)
    spread = tl.sum(x * tl.expand_dims(total, AXIS), AXIS)
    tl.store(Y + at, total)
    tl.store(Y + 256 + at, highest + weighted)
    tl.store(Y + 512 + at, spread)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("axis", [0, 1])
def test_reductions_of_one_tile_share_a_loop_where_they_do_not_need_each_other(axis: int, lanes: int) -> None:
    m, n = 64, 32
    x, y = torch.randint(-9, 9, (m, n)).float(), torch.zeros(3, 256)
    harness.run(several_kernel, (1,), {"Y": y, "X": x, "ROWS": 50}, lanes, M=m, N=n, AXIS=axis)
    x[50:] = 0
    kept, weights = n if axis == 0 else m, torch.arange(m)[:, None] + torch.arange(n)
    assert torch.equal(y[0, :kept], x.sum(axis))
    assert torch.equal(y[1, :kept], x.amax(axis) + (x * weights).sum(axis))
    assert torch.equal(y[2, :kept], (x * x.sum(axis, keepdim=True)).sum(axis))


@triton.jit
def pair_kernel(Y, X, ROWS):
    i, j = tl.arange(0, 64)[:, None], tl.arange(0, 16)[None, :]
    x = tl.load(X + i * 16 + j, mask=i < ROWS, other=0.0)
    tl.store(Y + tl.arange(0, 16), tl.sum(x, 0) + tl.max(x, 0))


def test_sums_of_one_loop_read_their_tile_once() -> None:
    text = lower(harness.ttir(pair_kernel, {"Y": "*fp32", "X": "*fp32", "ROWS": "i32"}, {}), lanes=16)
    masked = re.findall(r"select i1 \S+, ptr", text)  # a mask of a row chooses what address a vector of it is read from
    assert len(masked) == 2 * CHAINS  # the first row of each chain, and the others in one loop


@triton.jit
def column_sums_kernel(Y, X):
    x = tl.load(X + tl.arange(0, 256)[:, None] * 16 + tl.arange(0, 16)[None, :])
    tl.store(Y + tl.arange(0, 16), tl.sum(x * 2, 0))
    tl.store(Y + 16 + tl.arange(0, 16), tl.sum(x, 0))


@pytest.mark.parametrize("lanes", LANES)
def test_sums_without_lanes_on_their_axis_are_sums_of_blocks(lanes: int) -> None:
    """After 2**24 no single 1 changes a sum of f32, those of a block do."""
    x, y = torch.ones(256, 16), torch.zeros(2, 16)
    x[0] = 2.0**24
    harness.run(column_sums_kernel, (1,), {"Y": y, "X": x}, lanes)
    least = 2.0**24 + 256 * (1 - 1 / CHAINS)
    assert (y[0] >= 2 * least).all()
    assert (y[1] >= least).all()
