"""tt.dot of three-dimensional tensors: whole numbers in small ranges, so that sums are exact."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from tritoncnn import cpu

from . import harness


@triton.jit
def batch_kernel(
    Y, A, B, STEPS: tl.constexpr, L: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, MODE: tl.constexpr,
):  # fmt: skip
    l = tl.arange(0, L)[:, None, None]
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    DEPTH: tl.constexpr = STEPS * K
    acc = tl.full((L, M, N), 3, Y.dtype.element_ty)
    for step in range(STEPS):
        a = tl.load(A + l * M * DEPTH + m[None, :, None] * DEPTH + (step * K + k)[None, None, :])
        if MODE == "turned":
            b = tl.load(B + l * N * DEPTH + n[None, :, None] * DEPTH + (step * K + k)[None, None, :]).trans(0, 2, 1)
        else:
            b = tl.load(B + l * N * DEPTH + (step * K + k)[None, :, None] * N + n[None, None, :])
        if MODE == "kept":
            before = acc
            acc = tl.dot(a, b, acc, out_dtype=acc.dtype, input_precision="ieee") + before * 0
        else:
            acc = tl.dot(a, b, acc, out_dtype=acc.dtype, input_precision="ieee")
    tl.store(Y + l * M * N + m[None, :, None] * N + n[None, None, :], acc)


@pytest.mark.parametrize("lanes", [16, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int8], ids=str)
@pytest.mark.parametrize("mode", ["plain", "turned", "kept"])
def test_a_batch_is_multiplied_matrix_by_matrix(mode: str, dtype: torch.dtype, lanes: int) -> None:
    L, M, N, K, STEPS = 4, 16, 32, 16, 3
    a, b = (torch.randint(-4, 5, shape).to(dtype) for shape in ((L, M, STEPS * K), (L, STEPS * K, N)))
    wide = torch.int32 if dtype == torch.int8 else torch.float32
    y = torch.zeros(L, M, N, dtype=wide)
    given = b.transpose(1, 2).contiguous() if mode == "turned" else b
    harness.run(batch_kernel, (1,), {"Y": y, "A": a, "B": given}, lanes, STEPS=STEPS, L=L, M=M, N=N, K=K, MODE=mode)
    assert torch.equal(y, (a.double() @ b.double() + 3).to(wide))


@pytest.mark.parametrize("shape", [(1, 16, 16, 16), (2, 64, 128, 32), (8, 16, 64, 64)])
def test_batches_of_other_shapes(shape: tuple[int, int, int, int]) -> None:
    L, M, N, K = shape
    a, b, y = torch.randint(-4, 5, (L, M, K)).float(), torch.randint(-4, 5, (L, K, N)).float(), torch.zeros(L, M, N)
    harness.run(batch_kernel, (1,), {"Y": y, "A": a, "B": b}, STEPS=1, L=L, M=M, N=N, K=K, MODE="plain")
    assert torch.equal(y, a @ b + 3)


def test_batches_of_bf16_by_the_cpus_own_instructions() -> None:
    L, M, N, K = 2, 16, 32, 16
    a, b = (torch.randint(-4, 5, shape).bfloat16() for shape in ((L, M, 2 * K), (L, 2 * K, N)))
    y = torch.zeros(L, M, N)
    with cpu.active():
        batch_kernel[(1,)](y, a, b, 2, L, M, N, K, "plain")
    assert torch.equal(y, (a.double() @ b.double() + 3).float())
