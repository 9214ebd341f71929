"""Tensor descriptors, made in the kernel and on the host, and block pointers: padding, strides, atomics, plain vector loads."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from tests.cpu.harness import GATHERS, HAS_BLOCK_POINTERS, code, run
from tritoncnn import cpu
from tritoncnn.errors import DTypeError

block_pointers = pytest.mark.skipif(not HAS_BLOCK_POINTERS, reason="triton 3.9 has no block pointers")
pytestmark = pytest.mark.filterwarnings("ignore:tl.make_block_ptr is deprecated")


def assert_same(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0.0, atol=0.0, equal_nan=True)


def padded(x: torch.Tensor, at: tuple[int, int], block: tuple[int, int], padding: float) -> torch.Tensor:
    """What a load of a block at an offset finds."""
    out = torch.full(block, padding, dtype=x.dtype)
    for i in range(block[0]):
        for j in range(block[1]):
            if 0 <= at[0] + i < x.shape[0] and 0 <= at[1] + j < x.shape[1]:
                out[i, j] = x[at[0] + i, at[1] + j]
    return out


# ---- in the kernel ---------------------------------------------------------------------------------------------------
@triton.jit
def copy_block(x_ptr, y_ptr, M, N, i, j, BI: tl.constexpr, BJ: tl.constexpr, PAD: tl.constexpr):
    x = tl.make_tensor_descriptor(x_ptr, [M, N], [N, 1], [BI, BJ], padding_option=PAD)
    y = tl.make_tensor_descriptor(y_ptr, [BI, BJ], [BJ, 1], [BI, BJ])
    y.store([0, 0], x.load([i, j]))


@pytest.mark.parametrize("padding", ["zero", "nan"])
@pytest.mark.parametrize("at", [(0, 0), (8, 16), (-3, -5), (17, 40), (100, 0)])
def test_a_descriptor_load_pads_what_lies_outside(at: tuple[int, int], padding: str) -> None:
    x, y = torch.randn(20, 44), torch.empty(16, 32)
    args = {"x_ptr": x, "y_ptr": y, "M": 20, "N": 44, "i": at[0], "j": at[1]}
    run(copy_block, (1,), args, BI=16, BJ=32, PAD=padding)
    assert_same(y, padded(x, at, (16, 32), 0.0 if padding == "zero" else float("nan")))
    assert not GATHERS.search(code(copy_block, args, BI=16, BJ=32, PAD=padding))


@triton.jit
def store_block(y_ptr, M, N, i, j, BI: tl.constexpr, BJ: tl.constexpr, KIND: tl.constexpr):
    value = tl.arange(0, BI)[:, None] * BJ + tl.arange(0, BJ)[None, :] + 1
    y = tl.make_tensor_descriptor(y_ptr, [M, N], [N, 1], [BI, BJ])
    if KIND == "store":
        y.store([i, j], value)
    elif KIND == "add":
        y.atomic_add([i, j], value)
    elif KIND == "min":
        y.atomic_min([i, j], value)
    elif KIND == "max":
        y.atomic_max([i, j], value)
    elif KIND == "and":
        y.atomic_and([i, j], value)
    elif KIND == "or":
        y.atomic_or([i, j], value)
    else:
        y.atomic_xor([i, j], value)


@pytest.mark.parametrize("kind", ["store", "add", "min", "max", "and", "or", "xor"])
def test_descriptor_stores_and_atomics_leave_what_lies_outside_alone(kind: str) -> None:
    y = torch.randint(-99, 99, (10, 20), dtype=torch.int32)
    value = torch.arange(1, 129, dtype=torch.int32).view(8, 16)
    merged = {"store": lambda a, b: b, "add": torch.add, "min": torch.minimum, "max": torch.maximum,
              "and": torch.bitwise_and, "or": torch.bitwise_or, "xor": torch.bitwise_xor}[kind]  # fmt: skip
    wanted = y.clone()
    wanted[5:, 9:] = merged(y[5:, 9:], value[:5, :11])
    run(store_block, (1,), {"y_ptr": y, "M": 10, "N": 20, "i": 5, "j": 9}, BI=8, BJ=16, KIND=kind)
    assert_same(y, wanted)


@triton.jit
def move_rows(x_ptr, y_ptr, i_ptr, j_ptr, M, N, col, B: tl.constexpr, R: tl.constexpr):
    x = tl.make_tensor_descriptor(x_ptr, [M, N], [N, 1], [1, B])
    y = tl.make_tensor_descriptor(y_ptr, [M, N], [N, 1], [1, B])
    rows = x.gather(tl.load(i_ptr + tl.arange(0, R)), col)
    y.scatter(rows * 2, tl.load(j_ptr + tl.arange(0, R)), col)


def test_descriptors_gather_and_scatter_rows() -> None:
    x, y = torch.randn(30, 50), torch.zeros(30, 50)
    i, j = torch.randint(0, 30, (16,), dtype=torch.int32), torch.randperm(30)[:16].int()
    wanted = y.clone()
    wanted[j.long(), 24:] = 2 * x[i.long(), 24:]
    run(move_rows, (1,), {"x_ptr": x, "y_ptr": y, "i_ptr": i, "j_ptr": j, "M": 30, "N": 50, "col": 24}, B=32, R=16)
    assert_same(y, wanted)


@triton.jit
def rank_copy(x_ptr, y_ptr, A, B, C, RANK: tl.constexpr, BLOCK: tl.constexpr):
    if RANK == 1:
        d = tl.make_tensor_descriptor(x_ptr, [A * B * C], [1], [BLOCK])
        e = tl.make_tensor_descriptor(y_ptr, [A * B * C], [1], [BLOCK])
        for i in range(0, A * B * C, BLOCK):
            e.store([i], d.load([i]))
    else:
        d = tl.make_tensor_descriptor(x_ptr, [A, B, C], [B * C, C, 1], [2, 4, BLOCK])
        e = tl.make_tensor_descriptor(y_ptr, [A, B, C], [B * C, C, 1], [2, 4, BLOCK])
        for a in range(0, A, 2):
            for b in range(0, B, 4):
                for c in range(0, C, BLOCK):
                    e.store([a, b, c], d.load([a, b, c]))


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8, torch.float64])
def test_descriptors_of_every_rank_and_type_copy_a_tensor(rank: int, dtype: torch.dtype) -> None:
    x = torch.randint(-100, 100, (3, 7, 48)).to(dtype)
    y = torch.zeros_like(x)
    run(rank_copy, (1,), {"x_ptr": x, "y_ptr": y, "A": 3, "B": 7, "C": 48}, RANK=rank, BLOCK=32)
    assert_same(x, y)


# ---- from the host ---------------------------------------------------------------------------------------------------
@triton.jit
def host_matmul(a, b, c, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    i, j = tl.program_id(0) * BM, tl.program_id(1) * BN
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        acc = tl.dot(a.load([i, k]), b.load([k, j]), acc)
    c.store([i, j], acc.to(c.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_host_descriptors_go_through_tritons_own_launch(dtype: torch.dtype) -> None:
    a, b = torch.randn(40, 72).to(dtype), torch.randn(72, 56).to(dtype)
    c = torch.zeros(40, 56, dtype=dtype)
    with cpu.active():
        args = [TensorDescriptor.from_tensor(x, [32, 32]) for x in (a, b, c)]
        host_matmul[(2, 2)](*args, 72, BM=32, BN=32, BK=32)
    torch.testing.assert_close(c, (a.float() @ b.float()).to(dtype), rtol=1e-3, atol=1e-3)


@triton.jit
def host_copy(x, y, rows_ptr, scale, M: tl.constexpr, N: tl.constexpr):
    y.store([0, 0], x.load([1, 1]) * scale)
    tl.store(rows_ptr, x.shape[0])
    tl.store(rows_ptr + 1, x.strides[0])


def test_host_descriptors_know_their_padding_shape_and_strides() -> None:
    whole, rows = torch.randn(10, 32), torch.zeros(2, dtype=torch.int64)
    x = whole[:6, :12]
    for padding in ("zero", "nan"):
        y = torch.empty(8, 16)
        with cpu.active():
            source = TensorDescriptor(x, [6, 12], [32, 1], [8, 16], padding)
            host_copy[(1,)](source, TensorDescriptor.from_tensor(y, [8, 16]), rows, 3.0, M=8, N=16)
        assert_same(y, 3 * padded(x, (1, 1), (8, 16), 0.0 if padding == "zero" else float("nan")))
        assert rows.tolist() == [6, 32]


def test_a_changed_place_of_a_host_descriptor_needs_no_new_kernel() -> None:
    y = torch.empty(8, 16)
    out, rows = TensorDescriptor.from_tensor(y, [8, 16]), torch.zeros(2, dtype=torch.int64)
    with cpu.active():
        for n in (16, 32, 48):
            x = torch.randn(9, n)
            host_copy[(1,)](TensorDescriptor.from_tensor(x, [8, 16]), out, rows, 1.0, M=8, N=16)
            assert_same(y, padded(x, (1, 1), (8, 16), 0.0))
            assert rows.tolist() == [9, n]


def test_something_else_in_place_of_a_host_descriptor_is_refused() -> None:
    x = torch.zeros(8, 16)
    with cpu.active():
        d = TensorDescriptor.from_tensor(x, [8, 16])
        compiled = host_copy[(1,)](d, d, torch.zeros(2, dtype=torch.int64), 1.0, M=8, N=16)
        with pytest.raises(DTypeError, match="host_copy: wanted a TensorDescriptor; got Tensor"):
            compiled[(1, 1, 1)](x, d, torch.zeros(2, dtype=torch.int64), 1.0, 8, 16)


# ---- block pointers --------------------------------------------------------------------------------------------------
@triton.jit
def block_copy(x_ptr, y_ptr, M, N, i, j, BI: tl.constexpr, BJ: tl.constexpr, PAD: tl.constexpr):
    x = tl.make_block_ptr(x_ptr, (M, N), (N, 1), (i, j), (BI, BJ), (1, 0))
    y = tl.make_block_ptr(y_ptr, (BI, BJ), (BJ, 1), (0, 0), (BI, BJ), (1, 0))
    tl.store(y, tl.load(x, boundary_check=(0, 1), padding_option=PAD))


@block_pointers
@pytest.mark.parametrize("padding", ["zero", "nan"])
@pytest.mark.parametrize("at", [(0, 0), (-3, -5), (17, 40)])
def test_a_load_through_a_block_pointer_pads_what_lies_outside(at: tuple[int, int], padding: str) -> None:
    x, y = torch.randn(20, 44), torch.empty(16, 32)
    args = {"x_ptr": x, "y_ptr": y, "M": 20, "N": 44, "i": at[0], "j": at[1]}
    run(block_copy, (1,), args, BI=16, BJ=32, PAD=padding)
    assert_same(y, padded(x, at, (16, 32), 0.0 if padding == "zero" else float("nan")))
    assert not GATHERS.search(code(block_copy, args, BI=16, BJ=32, PAD=padding))


@triton.jit
def block_matmul(a_ptr, b_ptr, c_ptr, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    i, j = tl.program_id(0) * BM, tl.program_id(1) * BN
    a = tl.make_block_ptr(a_ptr, (M, K), (K, 1), (i, 0), (BM, BK), (1, 0))
    b = tl.make_block_ptr(b_ptr, (K, N), (N, 1), (0, j), (BK, BN), (1, 0))
    acc = tl.zeros((BM, BN), tl.float32)
    for _ in range(0, K, BK):
        acc = tl.dot(
            tl.load(a, boundary_check=(0, 1), padding_option="zero"),
            tl.load(b, boundary_check=(0, 1), padding_option="zero"), acc,
        )  # fmt: skip
        a, b = tl.advance(a, (0, BK)), tl.advance(b, (BK, 0))
    c = tl.make_block_ptr(c_ptr, (M, N), (N, 1), (i, j), (BM, BN), (1, 0))
    tl.store(c, acc, boundary_check=(0, 1))


@block_pointers
@pytest.mark.parametrize(("M", "N", "K"), [(64, 64, 64), (65, 47, 31), (1, 1, 1)])
def test_a_matmul_of_block_pointers_agrees_with_torch(M: int, N: int, K: int) -> None:
    a, b, c = torch.randn(M, K), torch.randn(K, N), torch.full((M, N), 9.0)
    args = {"a_ptr": a, "b_ptr": b, "c_ptr": c, "M": M, "N": N, "K": K}
    run(block_matmul, (triton.cdiv(M, 32), triton.cdiv(N, 32)), args, BM=32, BN=32, BK=32)
    torch.testing.assert_close(c, a @ b, rtol=1e-5, atol=2 * K * 2**-24 * float((a.abs() @ b.abs()).max()))
    assert not GATHERS.search(code(block_matmul, args, BM=32, BN=32, BK=32))
