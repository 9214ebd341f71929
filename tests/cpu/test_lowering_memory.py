"""Loads, stores, their order, shapes and atomics of the CPU backend."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import triton
import triton.language as tl

from tritoncnn.errors import UnsupportedError

from . import harness

LANES = (16, 4)


@triton.jit
def masked_kernel(Y, X, lo, hi, STRIDE: tl.constexpr, OTHER: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    ok = (offs >= lo) & (offs < hi)
    tl.store(Y + offs * STRIDE, tl.load(X + offs * STRIDE, mask=ok, other=OTHER), mask=offs != 5)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_masked_lanes_read_other_and_write_nothing(stride: int, lanes: int) -> None:
    x = torch.randn(64 * stride)
    y = torch.full((64 * stride,), 9.0)
    harness.run(masked_kernel, (1,), {"Y": y, "X": x, "lo": 3, "hi": 50}, lanes, STRIDE=stride, OTHER=-2.0, BLOCK=64)
    expected = torch.full((64 * stride,), 9.0)
    i = torch.arange(64)
    expected[::stride] = torch.where((i >= 3) & (i < 50), x[::stride], torch.tensor(-2.0))
    expected[5 * stride] = 9.0
    assert torch.equal(y, expected)


def test_masked_lanes_touch_no_memory() -> None:
    x = harness.before_a_wall(10).copy_(torch.arange(10.0))
    y = torch.zeros(64)
    harness.run(masked_kernel, (1,), {"Y": y, "X": x, "lo": 0, "hi": 10}, STRIDE=1, OTHER=0.0, BLOCK=64)
    expected = torch.arange(10.0)
    expected[5] = 0
    assert torch.equal(y[:10], expected)


@triton.jit
def shift_kernel(X, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + offs)
    tl.store(X + offs + 1, x)


@triton.jit
def flip_kernel(Y, X, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + BLOCK - 1 - offs)
    tl.store(Y + offs, x)


@triton.jit
def swap_kernel(X, Y, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + offs)
    y = tl.load(Y + offs)
    tl.store(X + offs, y)
    tl.store(Y + offs, x)


@triton.jit
def later_kernel(X, Y, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + offs)
    for _ in range(0, n):
        tl.store(X + offs, tl.load(X + offs) + 1.0)
    if n > 2:
        tl.store(X + offs, tl.load(X + offs) * 2.0)
    tl.store(Y + offs, x + tl.load(X + offs))


@pytest.mark.parametrize("lanes", LANES)
def test_a_load_sees_memory_as_it_was_where_the_load_stands(lanes: int) -> None:
    x = torch.randn(65)
    before = x.clone()
    harness.run(shift_kernel, (1,), {"X": x}, lanes, BLOCK=64)
    assert torch.equal(x[1:], before[:64])
    x = torch.randn(64)
    before = x.clone()
    harness.run(flip_kernel, (1,), {"Y": x, "X": x}, lanes, BLOCK=64)
    assert torch.equal(x, before.flip(0))
    a, b = torch.randn(64), torch.randn(64)
    a0, b0 = a.clone(), b.clone()
    harness.run(swap_kernel, (1,), {"X": a, "Y": b}, lanes, BLOCK=64)
    assert torch.equal(a, b0)
    assert torch.equal(b, a0)
    for n in (0, 1, 4):
        x, y = torch.randn(64), torch.empty(64)
        x0 = x.clone()
        harness.run(later_kernel, (1,), {"X": x, "Y": y, "n": n}, lanes, BLOCK=64)
        after = x0 + 0
        for _ in range(n):
            after = after + 1.0
        after = after * 2.0 if n > 2 else after
        torch.testing.assert_close(x, after, rtol=0, atol=0)
        torch.testing.assert_close(y, x0 + after, rtol=0, atol=0)


@triton.jit
def momentum_kernel(P, M, G, lr, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    p = tl.load(P + offs)
    m = tl.load(M + offs)
    g = tl.load(G + offs)
    m2 = 0.5 * m + g
    tl.store(M + offs, m2)
    tl.store(P + offs, p - lr * (g + m2 * 0.5 + m))


def test_an_optimizer_updates_in_place() -> None:
    p, m, g = (torch.randn(256) for _ in range(3))
    p0, m0 = p.clone(), m.clone()
    harness.run(momentum_kernel, (4,), {"P": p, "M": m, "G": g, "lr": 0.25}, BLOCK=64)
    torch.testing.assert_close(m, 0.5 * m0 + g)
    torch.testing.assert_close(p, p0 - 0.25 * (g + (0.5 * m0 + g) * 0.5 + m0))


@triton.jit
def difference_of_halves(x):
    a, b = tl.split(tl.reshape(x, [8, 8, 2]))
    return a - b


@triton.jit
def shapes_kernel(Y, X, F: tl.constexpr):
    x = tl.load(X + tl.arange(0, 8)[:, None] * 16 + tl.arange(0, 16)[None, :])
    harness.store(Y, F(x, tl.load(X + tl.arange(0, 128)), X))


SHAPES = {
    "tl.trans(x)": lambda x: x.T,
    "tl.reshape(x * 2.0, [128])": lambda x: 2 * x,
    "tl.reshape(x, [8, 4, 4])": lambda x: x,
    "tl.reshape(x + 1.0, [16, 8])": lambda x: x + 1,
    "difference_of_halves(x)": lambda x: x[:, ::2] - x[:, 1::2],
    "tl.join(x, -x)": lambda x: torch.stack([x, -x], -1),
    "tl.interleave(flat, flat * 3.0)": lambda x: torch.stack([x, x * 3], -1),
    "tl.cat(flat, flat * 3.0, can_reorder=True)": lambda x: torch.cat([x, x * 3]),
    "tl.gather(x, (tl.arange(0, 8)[:, None] * 3 + tl.arange(0, 16)[None, :] * 5) % 16, 1)":
        lambda x: x.gather(1, (torch.arange(8)[:, None] * 3 + torch.arange(16) * 5) % 16),
    "tl.permute(tl.reshape(x, [8, 4, 4]), (2, 0, 1))": lambda x: x.reshape(8, 4, 4).permute(2, 0, 1),
    "tl.broadcast_to(tl.load(X + tl.arange(0, 16))[None, :], (8, 16))": lambda x: x[:1].expand(8, 16),
    "tl.load(X + tl.arange(0, 8))[:, None] + tl.zeros((8, 16), tl.float32)":
        lambda x: x.flatten()[:8, None].expand(8, 16),
    "tl.sort(flat)": lambda x: x.flatten().sort().values,
}  # fmt: skip


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("text", list(SHAPES))
def test_shape_ops_move_elements_to_where_torch_moves_them(text: str, lanes: int) -> None:
    x, y = torch.randn(8, 16), torch.zeros(256)
    function = harness.function("x, flat, X", text, difference_of_halves=difference_of_halves)
    harness.run(shapes_kernel, (1,), {"Y": y, "X": x}, lanes, F=function)
    expected = SHAPES[text](x).flatten()
    assert torch.equal(y[: len(expected)], expected)


@triton.jit
def atomic_kernel(C, OLD, X, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ok = offs < n
    x = tl.load(X + offs, mask=ok, other=0)
    tl.atomic_add(C + x % 4, x, mask=ok)
    tl.atomic_max(C + 4, tl.max(x, 0))
    old = tl.atomic_add(C + 5 + 0 * offs, 1, mask=ok)
    tl.store(OLD + offs, old, mask=ok)
    tl.atomic_cas(C + 6, 0, 77)


def test_atomics_add_up() -> None:
    n = 100
    c, old = torch.zeros(7, dtype=torch.int32), torch.zeros(n, dtype=torch.int32)
    x = torch.randint(0, 1000, (n,), dtype=torch.int32)
    harness.run(atomic_kernel, (4,), {"C": c, "OLD": old, "X": x, "n": n}, BLOCK=32)
    for k in range(4):
        assert int(c[k]) == int(x[x % 4 == k].sum())
    assert int(c[4]) == int(x.max())
    assert int(c[5]) == n
    assert int(c[6]) == 77
    assert sorted(old.tolist()) == list(range(n))


@triton.jit
def float_atomic_kernel(C, X, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + offs)
    tl.atomic_add(C + offs % 2, x)
    tl.atomic_max(C + 2, tl.max(x, 0))
    tl.atomic_min(C + 3 + 0 * offs, x)


def test_float_atomics() -> None:
    x = torch.randint(-50, 50, (64,)).float()
    c = torch.zeros(4)
    harness.run(float_atomic_kernel, (1,), {"C": c, "X": x}, BLOCK=64)
    assert c.tolist() == [float(x[::2].sum()), float(x[1::2].sum()), max(0.0, float(x.max())), min(0.0, float(x.min()))]


@triton.jit
def grid_kernel(Y):
    x, y, z = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    at = (z * tl.num_programs(1) + y) * tl.num_programs(0) + x
    tl.store(Y + at, at)


@pytest.mark.parametrize("threads", [1, 2])
def test_every_program_of_the_grid_runs_once(threads: int) -> None:
    y = torch.full((3 * 5 * 7,), -1, dtype=torch.int32)
    harness.compile_for(grid_kernel, {"Y": y}, {}).launch((3, 5, 7), [y], threads)
    assert torch.equal(y, torch.arange(105, dtype=torch.int32))


@triton.jit
def assembly_kernel(X):
    x = tl.load(X)
    tl.store(X, tl.inline_asm_elementwise("nop", "=r,r", [x], dtype=tl.float32, is_pure=True, pack=1))


@triton.jit
def clock_kernel(X):
    """Assembly whose text holds what is a value's name elsewhere."""
    tl.store(X, tl.extra.cuda.globaltimer().to(tl.float32))


@pytest.mark.parametrize("kernel", [assembly_kernel, clock_kernel])
def test_an_unknown_op_is_named_with_its_line(kernel: Any) -> None:
    text = harness.ttir(kernel, {"X": "*fp32"}, {})
    with pytest.raises(UnsupportedError, match=r"tt\.elementwise_inline_asm at .*test_lowering_memory\.py:\d+: "):
        harness.lower(text, lanes=8)


@triton.jit
def mixed_kernel(Y, X, B, n, COLS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    i = tl.program_id(0) * BM + tl.arange(0, BM)
    j = tl.arange(0, BN)
    ok = (i[:, None] < n) & (j[None, :] < COLS)
    x = tl.load(X + i[:, None] * COLS + j[None, :], mask=ok, other=0.0)
    b = tl.load(B + j, mask=j < COLS, other=0.0)
    y = tl.where(x > 0, x, 0.1 * x) * tl.exp(b)[None, :] + tl.sqrt(i.to(tl.float32))[:, None]
    tl.store(Y + i[:, None] * COLS + j[None, :], y, mask=ok)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("cols", [1, 2, 6, 16, 33])
def test_rows_and_columns_broadcast(cols: int, lanes: int) -> None:
    n = 21
    x, b, y = torch.randn(n, cols), torch.randn(cols), torch.zeros(n, cols)
    args = {"Y": y, "X": x, "B": b, "n": n}
    harness.run(mixed_kernel, (3,), args, lanes, COLS=cols, BM=8, BN=triton.next_power_of_2(cols))
    expected = torch.where(x > 0, x, 0.1 * x) * b.exp() + torch.arange(n).float().sqrt()[:, None]
    torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-6)


@triton.jit
def turn_kernel(Y, X, M, N, SCALE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    i, j = tl.arange(0, BM)[:, None], tl.arange(0, BN)[None, :]
    x = tl.load(X + i * BN + j, mask=(i < M) & (j < N), other=7)
    tl.store(Y + j * BM + i, x * SCALE, mask=(j < N) & (i != 3))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
@pytest.mark.parametrize(("rows", "columns"), [(32, 64), (16, 2), (4, 32), (2, 2)])
def test_what_is_read_along_rows_and_written_along_columns_is_turned(
    rows: int, columns: int, dtype: torch.dtype, lanes: int
) -> None:
    x, y = torch.randint(-99, 99, (rows, columns)).to(dtype), torch.full((columns, rows), 5).to(dtype)
    m, n = max(rows - 3, 1), columns - 1
    harness.run(turn_kernel, (1,), {"Y": y, "X": x, "M": m, "N": n}, lanes, SCALE=2, BM=rows, BN=columns)
    expected = torch.full((columns, rows), 5).to(dtype)
    expected[:n] = 14
    expected[:n, :m] = 2 * x[:m, :n].T
    if rows > 3:
        expected[:, 3] = 5
    assert torch.equal(y, expected)
