"""Functions that are not inlined, with early returns; kernels with several returns; while loops that carry tensors."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from tests.cpu.harness import lower, run, ttir
from tritoncnn.errors import UnsupportedError


@triton.jit(noinline=True)
def collatz(n, most):
    if n < 1:
        return -1, n
    if n % 2 == 0:
        return n // 2, most
    steps = 0
    while steps < most:
        steps += 1
    return 3 * n + 1, steps


@triton.jit(noinline=True)
def twice(n):
    a, _ = collatz(n, 3)
    if a > 20:
        return a
    b, _ = collatz(a, 2)
    return b


@triton.jit(noinline=True)
def put(p, x, n):
    if n % 3 == 0:
        return
    tl.store(p + tl.arange(0, 8) + 8 * tl.program_id(0), tl.full((8,), x, tl.float32) * tl.num_programs(0))


@triton.jit(noinline=True)
def range_of(n):
    if n > 3:
        return tl.arange(0, 8)
    return tl.arange(0, 8) * n


@triton.jit
def calling(y_ptr, n, MODE: tl.constexpr):
    if MODE == "results":
        for i in range(n):
            a, b = collatz(i, i + 2)
            tl.store(y_ptr + 2 * i, a.to(tl.float32))
            tl.store(y_ptr + 2 * i + 1, b.to(tl.float32))
    elif MODE == "nested":
        for i in range(n):
            tl.store(y_ptr + i, twice(i).to(tl.float32))
    elif MODE == "stores":
        at = tl.arange(0, 8)
        before = tl.load(y_ptr + 8 * tl.program_id(0) + at)
        put(y_ptr, 5.0, tl.program_id(0))
        after = tl.load(y_ptr + 8 * tl.program_id(0) + at)
        tl.store(y_ptr + 8 * (tl.program_id(0) + tl.num_programs(0)) + at, before + after)
    else:
        tl.store(y_ptr + tl.arange(0, 8), range_of(n).to(tl.float32))


def step(n: int, most: int) -> tuple[int, int]:
    return (-1, n) if n < 1 else (n // 2, most) if n % 2 == 0 else (3 * n + 1, most)


def test_a_called_function_may_return_early_with_several_results() -> None:
    y = torch.zeros(40)
    run(calling, (1,), {"y_ptr": y, "n": 20}, MODE="results")
    assert y.view(20, 2).tolist() == [list(map(float, step(i, i + 2))) for i in range(20)]


def test_functions_that_return_early_call_each_other() -> None:
    y = torch.zeros(20)
    run(calling, (1,), {"y_ptr": y, "n": 20}, MODE="nested")
    firsts = [step(i, 3)[0] for i in range(20)]
    assert y.tolist() == [float(a if a > 20 else step(a, 2)[0]) for a in firsts]


def test_a_called_function_stores_between_the_loads_around_the_call() -> None:
    y = torch.ones(64)
    run(calling, (4,), {"y_ptr": y, "n": 0}, MODE="stores")
    written = torch.tensor([1.0, 20.0, 20.0, 1.0]).repeat_interleave(8)
    torch.testing.assert_close(y, torch.cat([written, written + 1]), rtol=0.0, atol=0.0)


def test_a_tensor_from_a_function_that_returns_early_is_refused_by_name() -> None:
    text = ttir(calling, {"y_ptr": "*fp32", "n": "i32"}, {"MODE": "tensor"})
    with pytest.raises(UnsupportedError, match=r"tt\.call at .*test_calls\.py:\d+: a function that returns early must"):
        lower(text, lanes=8)


@triton.jit
def returning(x_ptr, y_ptr, n, B: tl.constexpr):
    at = tl.arange(0, B)
    x = tl.load(x_ptr + at)
    if tl.program_id(0) >= n:
        return
    if n == 3:
        tl.store(y_ptr + tl.program_id(0) * B + at, x)
        return
    if n == 4:
        x = x + 1
        if tl.program_id(0) == 2:
            return
    for _ in range(n):
        x = x * 2
    tl.store(y_ptr + tl.program_id(0) * B + at, x)


@pytest.mark.parametrize("n", [0, 2, 3, 4])
def test_a_kernel_may_return_at_several_places(n: int) -> None:
    x, y = torch.randn(16), torch.zeros(5, 16)
    run(returning, (5,), {"x_ptr": x, "y_ptr": y, "n": n}, B=16)
    wanted = torch.zeros(5, 16)
    wanted[:n] = x if n == 3 else (x + (n == 4)) * 2**n
    if n == 4:
        wanted[2] = 0
    torch.testing.assert_close(y, wanted, rtol=1e-6, atol=0.0)


@triton.jit
def walking(x_ptr, y_ptr, n, B: tl.constexpr):
    at = tl.arange(0, B)
    p, q = x_ptr + at, y_ptr + at
    total, last, i = tl.zeros((B,), tl.float32), tl.zeros((B,), tl.float32), 0
    while (i < n) & (tl.sum(total) < 1000.0):
        x = tl.load(p)
        total, last = total + last, x
        tl.store(q, total)
        p += B
        q += B
        i += 1
    tl.store(q, last)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_while_loop_carries_tensors_and_pointers(n: int) -> None:
    x, y = torch.randint(0, 9, (6, 16)).float(), torch.zeros(6, 16)
    run(walking, (1,), {"x_ptr": x, "y_ptr": y, "n": n}, B=16)
    wanted = torch.zeros(6, 16)
    wanted[1:n] = x[: max(n - 1, 0)].cumsum(0)
    wanted[n] = x[n - 1] if n else 0
    torch.testing.assert_close(y, wanted, rtol=0.0, atol=0.0)
