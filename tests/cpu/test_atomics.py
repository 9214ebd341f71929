"""Atomic operations: every kind on every type it takes, on scalars and tensors, with results, masks and several threads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import triton
import triton.language as tl

from tests.cpu.harness import compile_for, function, run

INTEGERS = (torch.int32, torch.int64, torch.uint32, torch.uint64)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
CASES = [(kind, t) for kind in ("add", "xchg") for t in (*INTEGERS, *FLOATS) if kind == "add" or t.itemsize > 2]
CASES += [(kind, t) for kind in ("max", "min") for t in (*INTEGERS, torch.float32, torch.float64)]
CASES += [(kind, t) for kind in ("and", "or", "xor") for t in INTEGERS]


def atomic(kind: str) -> Any:
    relaxed = ", sem='relaxed'" if kind == "xchg" else ""
    return function("p, x, mask", f"tl.atomic_{kind}(p, x, mask=mask{relaxed})")


@triton.jit
def each(p_ptr, x_ptr, old_ptr, n, B: tl.constexpr, F: tl.constexpr, RESULT: tl.constexpr):
    at = tl.arange(0, B)
    old = F(p_ptr + at, tl.load(x_ptr + at), at < n)
    if RESULT:
        tl.store(old_ptr + at, old, mask=at < n)


@triton.jit
def one_by_one(p_ptr, x_ptr, old_ptr, n, B: tl.constexpr, F: tl.constexpr):
    for i in range(B):
        old = F(p_ptr + i, tl.load(x_ptr + i), i < n)
        if i < n:
            tl.store(old_ptr + i, old)


def numbers(dtype: torch.dtype) -> torch.Tensor:
    x = torch.randint(-100, 100, (32,)) / (4 if dtype.is_floating_point else 1)
    return (x.abs() if dtype in (torch.uint32, torch.uint64) else x).to(dtype)


def merged(kind: str, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """torch has no arithmetic on uint32 and uint64, whose samples fit into int64."""
    wide = torch.float64 if a.dtype.is_floating_point else torch.int64
    p, q = a.to(wide), b.to(wide)
    found = {"add": torch.add, "max": torch.maximum, "min": torch.minimum, "and": torch.bitwise_and, "or": torch.bitwise_or,
             "xor": torch.bitwise_xor, "xchg": lambda _, y: y}[kind](p, q)  # fmt: skip
    return found.to(a.dtype)


@pytest.mark.parametrize("form", ["tensor", "tensor without result", "scalar"])
@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_an_atomic_changes_what_is_not_masked_and_gives_back_what_was_there(
    kind: str, dtype: torch.dtype, form: str
) -> None:
    p, x = numbers(dtype), numbers(dtype)
    before, old = p.clone(), torch.zeros(32).to(dtype)
    wanted = torch.cat([merged(kind, p, x)[:21], p[21:]])
    args = {"p_ptr": p, "x_ptr": x, "old_ptr": old, "n": 21}
    if form == "scalar":
        run(one_by_one, (1,), args, B=32, F=atomic(kind))
    else:
        run(each, (1,), args, B=32, F=atomic(kind), RESULT=form == "tensor")
    assert p.tolist() == wanted.tolist()
    known = torch.cat([before[:21], torch.zeros(11).to(dtype)]) if form != "tensor without result" else torch.zeros(32)
    assert old.tolist() == known.tolist()


@triton.jit
def all_that_came(p_ptr, x_ptr, old_ptr, n, B: tl.constexpr, SCALAR: tl.constexpr):
    if SCALAR:
        for i in range(B):
            tl.store(old_ptr + i, tl.atomic_add(p_ptr + i, tl.load(x_ptr + i), mask=i % n == 0))
    else:
        at = tl.arange(0, B)
        tl.store(old_ptr + at, tl.atomic_add(p_ptr + at, tl.load(x_ptr + at), mask=at % n == 0))


@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
def test_what_a_masked_atomic_gives_back_is_zero(dtype: torch.dtype, scalar: bool) -> None:
    """It was whatever the stack held."""
    p, x, old = torch.arange(1, 33).to(dtype), torch.ones(32).to(dtype), torch.full((32,), 77).to(dtype)
    run(all_that_came, (1,), {"p_ptr": p, "x_ptr": x, "old_ptr": old, "n": 3}, B=32, SCALAR=scalar)
    met = torch.arange(32) % 3 == 0
    assert old.tolist() == torch.where(met, torch.arange(1, 33), 0).to(dtype).tolist()
    assert p.tolist() == (torch.arange(1, 33) + met).to(dtype).tolist()


@triton.jit
def swap(p_ptr, c_ptr, x_ptr, old_ptr, B: tl.constexpr, SCALAR: tl.constexpr):
    if SCALAR:
        for i in range(B):
            tl.store(old_ptr + i, tl.atomic_cas(p_ptr + i, tl.load(c_ptr + i), tl.load(x_ptr + i)))
    else:
        at = tl.arange(0, B)
        tl.store(old_ptr + at, tl.atomic_cas(p_ptr + at, tl.load(c_ptr + at), tl.load(x_ptr + at)))


@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize("dtype", [*INTEGERS, torch.int16, *FLOATS])
def test_compare_and_swap_swaps_where_the_expected_value_stands(dtype: torch.dtype, scalar: bool) -> None:
    p, x = torch.arange(16).to(dtype), torch.arange(50, 66).to(dtype)
    expected = torch.where(torch.arange(16) % 3 == 0, torch.arange(16), 99).to(dtype)
    old = torch.zeros(16).to(dtype)
    before, wanted = p.tolist(), [int(b if k % 3 == 0 else a) for k, (a, b) in enumerate(zip(p, x, strict=True))]
    run(swap, (1,), {"p_ptr": p, "c_ptr": expected, "x_ptr": x, "old_ptr": old}, B=16, SCALAR=scalar)
    assert (p.tolist(), old.tolist()) == (wanted, before)


@triton.jit
def crowd(p_ptr, lock_ptr, q_ptr, B: tl.constexpr):
    tl.atomic_add(p_ptr + tl.arange(0, B) % 4, tl.full((B,), 0.5, tl.float32))
    while tl.atomic_cas(lock_ptr, 0, 1, sem="acquire") == 1:
        pass
    tl.store(q_ptr, tl.load(q_ptr) + 1)
    tl.atomic_xchg(lock_ptr, 0, sem="release")


def test_programs_of_several_threads_lose_no_update() -> None:
    p, lock, q = torch.zeros(4), torch.zeros(1, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    args = {"p_ptr": p, "lock_ptr": lock, "q_ptr": q}
    compile_for(crowd, args, {"B": 16}).launch((500,), list(args.values()), threads=2)
    assert p.tolist() == [1000.0] * 4
    assert q.tolist() == [500]


@triton.jit
def after_a_load(p_ptr, y_ptr, B: tl.constexpr):
    at = tl.arange(0, B)
    before = tl.load(p_ptr + at)
    tl.atomic_add(p_ptr + (B - 1 - at), 10)
    tl.store(y_ptr + at, before)
    tl.store(y_ptr + B + at, tl.load(p_ptr + at))


def test_an_atomic_stands_between_the_loads_before_and_after_it() -> None:
    p, y = torch.arange(16, dtype=torch.int32), torch.zeros(32, dtype=torch.int32)
    run(after_a_load, (1,), {"p_ptr": p, "y_ptr": y}, B=16)
    assert y.tolist() == [*range(16), *range(10, 26)]


@triton.jit
def scattered(p_ptr, i_ptr, x_ptr, B: tl.constexpr, C: tl.constexpr):
    rows = tl.load(i_ptr + tl.arange(0, B))
    x = tl.load(x_ptr + tl.arange(0, B)[:, None] * C + tl.arange(0, C)[None, :])
    tl.atomic_add(p_ptr + rows[:, None] * C + tl.arange(0, C)[None, :], x * 2)


def test_rows_that_occur_twice_are_added_twice() -> None:
    p, x, i = torch.zeros(4, 8), torch.randint(-9, 9, (16, 8)).float(), torch.randint(0, 4, (16,), dtype=torch.int32)
    run(scattered, (1,), {"p_ptr": p, "i_ptr": i, "x_ptr": x}, B=16, C=8)
    assert torch.equal(p, torch.zeros(4, 8).index_add(0, i.long(), 2 * x))
