"""Loops, branches, carried values and calls of the CPU backend."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from . import harness

LANES = (16, 4)


@triton.jit
def carried_kernel(Y, X, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), tl.float32)
    best = tl.full((BLOCK,), float("-inf"), tl.float32)
    where = tl.zeros((BLOCK,), tl.int32)
    total = 0.0
    for i in range(0, n):
        x = tl.load(X + i * BLOCK + offs)
        acc += x
        where = tl.where(x > best, i, where)
        best = tl.maximum(best, x)
        total += tl.sum(x, 0)
    tl.store(Y + offs, acc)
    tl.store(Y + BLOCK + offs, best)
    tl.store(Y + 2 * BLOCK + offs, where)
    tl.store(Y + 3 * BLOCK, total)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("n", [0, 1, 5])
def test_tensors_and_scalars_go_round_a_loop(n: int, lanes: int) -> None:
    x, y = torch.randint(-9, 9, (max(n, 1), 32)).float(), torch.zeros(97)
    harness.run(carried_kernel, (1,), {"Y": y, "X": x, "n": n}, lanes, BLOCK=32)
    x = x[:n]
    assert torch.equal(y[:32], x.sum(0))
    assert torch.equal(y[32:64], x.amax(0) if n else torch.full((32,), float("-inf")))
    if n:
        assert torch.equal(y[64:96], (x == x.amax(0)).int().argmax(0).float())
    assert float(y[96]) == float(x.sum())


@triton.jit
def exchange_kernel(Y, X, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    a = tl.load(X + offs)
    b = tl.load(X + BLOCK + offs)
    c = a + b
    for _ in range(n):
        a, b, c = b, a + c, tl.reshape(tl.trans(tl.reshape(c, [4, BLOCK // 4])), [BLOCK])
    tl.store(Y + offs, a)
    tl.store(Y + BLOCK + offs, b)
    tl.store(Y + 2 * BLOCK + offs, c)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_carried_tensors_may_change_places(n: int, lanes: int) -> None:
    x, y = torch.randint(-9, 9, (2, 32)).float(), torch.zeros(3, 32)
    harness.run(exchange_kernel, (1,), {"Y": y, "X": x, "n": n}, lanes, BLOCK=32)
    a, b = x
    c = a + b
    for _ in range(n):
        a, b, c = b, a + c, c.reshape(4, 8).T.flatten()
    assert torch.equal(y, torch.stack([a, b, c]))


@triton.jit
def pointer_kernel(Y, X, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    p = X + offs
    q = X
    acc = tl.zeros((BLOCK,), tl.float32)
    for _ in range(0, n):
        acc += tl.load(p) * tl.load(q)
        p += BLOCK
        q += 2
    tl.store(Y + offs, acc)


def test_pointers_go_round_a_loop() -> None:
    x, y = torch.randint(-9, 9, (6, 32)).float(), torch.zeros(32)
    harness.run(pointer_kernel, (1,), {"Y": y, "X": x, "n": 6}, BLOCK=32)
    assert torch.equal(y, (x * x.flatten()[0:12:2, None]).sum(0))


@triton.jit
def branch_kernel(Y, X, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + offs)
    k = 0
    if n > 3:
        x = x * 2.0
        k = n + 1
        tl.store(Y + BLOCK, 5.0)
    elif n > 1:
        x = tl.exp(x)
        k = 7
    else:
        tl.store(Y + BLOCK, tl.sum(x, 0))
    tl.store(Y + offs, x + k)


@pytest.mark.parametrize("lanes", LANES)
def test_branches_yield_tensors_and_scalars(lanes: int) -> None:
    for n in (0, 2, 9):
        x, y = torch.randint(-3, 3, (32,)).float(), torch.zeros(33)
        harness.run(branch_kernel, (1,), {"Y": y, "X": x, "n": n}, lanes, BLOCK=32)
        expected = x * 2 + n + 1 if n > 3 else x.exp() + 7 if n > 1 else x
        torch.testing.assert_close(y[:32], expected, rtol=1e-6, atol=0)
        assert float(y[32]) == (5.0 if n > 3 else 0.0 if n > 1 else float(x.sum()))


@triton.jit
def while_kernel(Y, X, limit, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + offs)
    steps = 0
    total = tl.sum(x, 0)
    while total < limit:
        x = x + x + 1.0
        total = tl.sum(x, 0)
        steps += 1
    tl.store(Y + offs, x)
    tl.store(Y + BLOCK, steps)


@pytest.mark.parametrize("limit", [0.0, 100.0, 5000.0])
def test_while_runs_until_its_condition_fails(limit: float) -> None:
    x, y = torch.arange(32).float(), torch.zeros(33)
    harness.run(while_kernel, (1,), {"Y": y, "X": x, "limit": limit}, BLOCK=32)
    steps = 0
    while float(x.sum()) < limit:
        x = x + x + 1
        steps += 1
    assert torch.equal(y[:32], x)
    assert float(y[32]) == steps


@triton.jit
def early_kernel(Y, X, n, BLOCK: tl.constexpr):
    pid = tl.program_id(0)
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + offs)
    if pid >= n:
        return
    tl.store(Y + pid * BLOCK + offs, x)
    if pid == 1:  # noqa: SIM102  nested returns are what is tested
        if n > 2:
            return
    tl.store(Y + pid * BLOCK + offs, x + tl.sum(x, 0) + pid)


@pytest.mark.parametrize("n", [0, 2, 3])
def test_a_program_may_return_early(n: int) -> None:
    x, y = torch.arange(32).float(), torch.zeros(4, 32)
    harness.run(early_kernel, (4,), {"Y": y, "X": x, "n": n}, BLOCK=32)
    expected = torch.zeros(4, 32)
    for pid in range(n):
        expected[pid] = x if pid == 1 and n > 2 else x + x.sum() + pid
    assert torch.equal(y, expected)


@triton.jit(noinline=True)
def twice_and_sum(x, k):
    return x * 2.0, x + k


@triton.jit
def call_kernel(Y, X, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    a, s = twice_and_sum(tl.load(X), 1.0)
    b, t = twice_and_sum(a, s)
    tl.store(Y + offs, b + tl.load(X + offs))
    tl.store(Y + BLOCK, t)


def test_functions_that_are_not_inlined_are_called() -> None:
    x, y = torch.arange(1, 33).float(), torch.zeros(33)
    harness.run(call_kernel, (1,), {"Y": y, "X": x}, BLOCK=32)
    assert torch.equal(y[:32], 4 * x[0] + x)
    assert float(y[32]) == 2 * 1 + 1 + 1


@triton.jit
def nested_kernel(Y, X, n, m, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    scale = tl.exp(tl.load(X + offs))
    acc = tl.zeros((BLOCK,), tl.float32)
    for i in range(n):
        row = tl.zeros((BLOCK,), tl.float32)
        for j in range(i, m, 2):
            row += scale * j
            if j > 3:
                row -= 1.0
        acc = acc * 0.5 + row
    tl.store(Y + offs, acc)


@pytest.mark.parametrize("lanes", LANES)
def test_loops_nest(lanes: int) -> None:
    x, y = torch.randn(32), torch.zeros(32)
    harness.run(nested_kernel, (1,), {"Y": y, "X": x, "n": 4, "m": 7}, lanes, BLOCK=32)
    acc = torch.zeros(32)
    for i in range(4):
        row = torch.zeros(32)
        for j in range(i, 7, 2):
            row = row + x.exp() * j - (1.0 if j > 3 else 0.0)
        acc = acc * 0.5 + row
    torch.testing.assert_close(y, acc, rtol=1e-5, atol=1e-5)
