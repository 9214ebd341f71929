"""Carried tensors of pointers and indices: the same results, and the same code as index arithmetic."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import triton
import triton.language as tl

from tests.cpu.harness import GATHERS, code, run


@triton.jit
def tutorial_matmul(
    a_ptr, b_ptr, c_ptr, M, N, K, stride_am, stride_bk, stride_cm,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    offs_am = (tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)) % M
    offs_bn = (tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)) % N
    offs_k = tl.arange(0, BLOCK_K)
    a_ptrs = a_ptr + (offs_am[:, None] * stride_am + offs_k[None, :])
    b_ptrs = b_ptr + (offs_k[:, None] * stride_bk + offs_bn[None, :])
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(0, tl.cdiv(K, BLOCK_K)):
        a = tl.load(a_ptrs, mask=offs_k[None, :] < K - k * BLOCK_K, other=0.0)
        b = tl.load(b_ptrs, mask=offs_k[:, None] < K - k * BLOCK_K, other=0.0)
        acc = tl.dot(a, b, acc)
        a_ptrs += BLOCK_K
        b_ptrs += BLOCK_K * stride_bk
    offs_m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    offs_n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    mask = (offs_m[:, None] < M) & (offs_n[None, :] < N)
    tl.store(c_ptr + stride_cm * offs_m[:, None] + offs_n[None, :], acc, mask=mask)


@triton.jit
def indexed_matmul(
    a_ptr, b_ptr, c_ptr, M, N, K, stride_am, stride_bk, stride_cm,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    offs_am = (tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)) % M
    offs_bn = (tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)) % N
    offs_k = tl.arange(0, BLOCK_K)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(0, tl.cdiv(K, BLOCK_K)):
        a_ptrs = a_ptr + (offs_am[:, None] * stride_am + offs_k[None, :]) + k * BLOCK_K
        b_ptrs = b_ptr + (offs_k[:, None] * stride_bk + offs_bn[None, :]) + k * BLOCK_K * stride_bk
        a = tl.load(a_ptrs, mask=offs_k[None, :] < K - k * BLOCK_K, other=0.0)
        b = tl.load(b_ptrs, mask=offs_k[:, None] < K - k * BLOCK_K, other=0.0)
        acc = tl.dot(a, b, acc)
    offs_m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    offs_n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    mask = (offs_m[:, None] < M) & (offs_n[None, :] < N)
    tl.store(c_ptr + stride_cm * offs_m[:, None] + offs_n[None, :], acc, mask=mask)


@pytest.mark.parametrize(("M", "N", "K"), [(64, 64, 64), (65, 47, 31), (1, 1, 1), (40, 64, 100)])
def test_the_tutorial_matmul_agrees_with_torch(M: int, N: int, K: int) -> None:
    torch.manual_seed(M)
    a, b, c = torch.randn(M, K), torch.randn(K, N), torch.empty(M, N)
    args = {"a_ptr": a, "b_ptr": b, "c_ptr": c, "M": M, "N": N, "K": K, "stride_am": K, "stride_bk": N, "stride_cm": N}
    run(tutorial_matmul, (triton.cdiv(M, 32), triton.cdiv(N, 32)), args, BLOCK_M=32, BLOCK_N=32, BLOCK_K=32)
    torch.testing.assert_close(c, a @ b, rtol=1e-5, atol=2 * K * 2**-24 * float((a.abs() @ b.abs()).max()))


def test_moving_pointers_make_the_same_memory_accesses_as_index_arithmetic() -> None:
    x = torch.empty(0)
    names = ("M", "N", "K", "stride_am", "stride_bk", "stride_cm")
    args: dict[str, Any] = {"a_ptr": x, "b_ptr": x, "c_ptr": x, **dict.fromkeys(names, 1)}
    accesses = []
    for kernel in (tutorial_matmul, indexed_matmul):
        text = code(kernel, args, BLOCK_M=32, BLOCK_N=32, BLOCK_K=32)
        words = re.findall(r"= (load (?:<\d+ x )?\w+)|call .*@(llvm\.masked\.\w+)|(alloca \w+, i64 \d+)", text)
        accesses.append(sorted("".join(word) for word in words))
    assert accesses[0] == accesses[1]
    assert "alloca ptr, i64 1024" not in accesses[0]


@triton.jit
def walks(x_ptr, y_ptr, z_ptr, n, ROWS: tl.constexpr, B: tl.constexpr, MODE: tl.constexpr):
    cols = tl.arange(0, B)
    p = x_ptr + cols
    q = y_ptr + cols
    if MODE == "read after the loop":
        for _ in range(n):
            p += B
        tl.store(q, tl.load(p))
    elif MODE == "backwards":
        p += (ROWS - 1) * B
        for _ in range(ROWS):
            tl.store(q, tl.load(p))
            p -= B
            q += B
    elif MODE == "nested":
        for _ in range(ROWS // 2):
            for _ in range(2):
                tl.store(q, tl.load(p) + 1)
                p += B
                q += B
            p -= B
    elif MODE == "steps from memory":
        for i in range(n):
            tl.store(q, tl.load(p))
            q += B
            p += B * tl.load(z_ptr + i)
    elif MODE == "two steps a turn":
        for _ in range(ROWS // 2):
            a = tl.load(p)
            p += B
            b = tl.load(p)
            p += B
            tl.store(q, a - b)
            q += B
    elif MODE == "a step under a condition":
        for i in range(n):
            tl.store(q, tl.load(p))
            q += B
            if tl.load(z_ptr + i) > 1:
                p += B
            else:
                p += 2 * B
    elif MODE == "indices":
        at = cols
        for _ in range(3, 3 + 2 * n, 2):
            tl.store(y_ptr + at, tl.load(x_ptr + at) * 2, mask=at < n * B - 3)
            at += B
    elif MODE == "a step of its own per lane":
        for _ in range(n):
            tl.store(q, tl.load(p))
            q += B
            p += cols
    else:
        for i in range(n):
            tl.store(q, tl.load(p))
            q += B
            if i % 2 == 0:
                p, q = p + B, q


def expected(mode: str, x: torch.Tensor, z: list[int]) -> torch.Tensor:
    y, n = torch.zeros_like(x), 4
    if mode == "read after the loop":
        y[0] = x[n]
    elif mode == "backwards":
        y = x.flip(0)
    elif mode == "nested":
        rows = [i - i // 2 for i in range(8)]
        y = x[rows] + 1
    elif mode == "steps from memory":
        y[:n] = x[[sum(z[:i]) for i in range(n)]]
    elif mode == "two steps a turn":
        y[:4] = x[::2] - x[1::2]
    elif mode == "a step under a condition":
        y[:n] = x[[sum(1 if s > 1 else 2 for s in z[:i]) for i in range(n)]]
    elif mode == "indices":
        y.view(-1)[: n * 32 - 3] = x.view(-1)[: n * 32 - 3] * 2
    elif mode == "a step of its own per lane":
        for i in range(n):
            y[i] = x.view(-1)[torch.arange(32) * (i + 1)]
    else:
        y[:n] = x[[(i + 1) // 2 for i in range(n)]]
    return y


MODES = ("read after the loop", "backwards", "nested", "steps from memory", "two steps a turn",
         "a step under a condition", "indices", "a step of its own per lane", "a step every second turn")  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_moving_pointers_reach_the_elements_that_index_arithmetic_reaches(mode: str) -> None:
    x, z = torch.arange(8 * 32, dtype=torch.float32).view(8, 32), [1, 2, 0, 3]
    args = {"x_ptr": x, "y_ptr": torch.zeros_like(x), "z_ptr": torch.tensor(z, dtype=torch.int32), "n": 4}
    run(walks, (1,), args, ROWS=8, B=32, MODE=mode)
    torch.testing.assert_close(args["y_ptr"], expected(mode, x, z), rtol=0.0, atol=0.0)
    if mode != "a step of its own per lane":
        assert not GATHERS.search(code(walks, args, ROWS=8, B=32, MODE=mode))


@triton.jit
def moved_in_place(x_ptr, n, B: tl.constexpr):
    p = x_ptr + tl.arange(0, B)
    q = x_ptr + 1 + tl.arange(0, B)
    for _ in range(n):
        tl.store(p, tl.load(q))
        p += B
        q += B


def test_loads_from_a_pointer_that_moves_apart_are_done_before_the_store() -> None:
    x = torch.arange(129, dtype=torch.float32)
    wanted = torch.cat([x[1:], x[-1:]])
    run(moved_in_place, (1,), {"x_ptr": x, "n": 2}, B=64)
    torch.testing.assert_close(x, wanted, rtol=0.0, atol=0.0)
