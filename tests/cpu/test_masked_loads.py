"""Where a load's mask is false and no ``other`` is given, the value is 0: in every element type and access pattern."""

from __future__ import annotations

import itertools

import pytest
import torch
import triton
import triton.language as tl

from tritoncnn import cpu

from . import harness

LANES = (16, 8, 4)
DTYPES = [
    torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.uint8, torch.int16, torch.int32,
    torch.int64, torch.float8_e4m3fn, torch.float8_e5m2, torch.bool,
]  # fmt: skip
PATTERNS = ["contiguous", "step 2", "step n", "one element", "backwards", "gathered", "two axes", "transposed"]


@triton.jit
def pattern_kernel(Y, S, X, I, n, step, PATTERN: tl.constexpr, BLOCK: tl.constexpr):
    """y[i] = x[place of i] where i < n, else 0; s = their sum."""
    i = tl.arange(0, BLOCK)
    at = i
    mask = i < n
    if PATTERN == "step 2":
        at = i * 2
    elif PATTERN == "step n":
        at = i * step
    elif PATTERN == "one element":
        at = i * 0
    elif PATTERN == "backwards":
        at = BLOCK - 1 - i
    elif PATTERN == "gathered":
        at = tl.load(I + i)
    elif PATTERN == "two axes":
        at = i[:, None] * BLOCK + i[None, :]
        mask = (i[:, None] < n) & (i[None, :] < n)
    elif PATTERN == "transposed":
        at = i[None, :] * BLOCK + i[:, None]
        mask = (i[:, None] < n) & (i[None, :] < n)
    x = tl.load(X + at, mask=mask).to(tl.float32)
    tl.store(Y + at * 0 + (i if len(at.shape) == 1 else i[:, None] * BLOCK + i[None, :]), x)
    tl.store(S, tl.sum(x))


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(
    ("lanes", "dtype"),
    [*itertools.product([8], DTYPES), *itertools.product([4, 16], [torch.float32, torch.bfloat16, torch.int8])],
    ids=str,
)
def test_masked_elements_of_every_pattern_are_zero(lanes: int, dtype: torch.dtype, pattern: str) -> None:
    block = 32
    axes = 2 if pattern in ("two axes", "transposed") else 1
    x = torch.full((block * block,), 9.0).to(dtype)
    index = torch.randperm(block, dtype=torch.int32)
    value = float(x[:1].float())
    for n in (0, 3, 16, 31):
        y, s = torch.full((block,) * axes, 5.0), torch.zeros(1)
        args = {"Y": y, "S": s, "X": x, "I": index, "n": n, "step": 3}
        harness.run(pattern_kernel, (1,), args, lanes, PATTERN=pattern, BLOCK=block)
        expected = torch.zeros((block,) * axes)
        expected[(slice(0, n),) * axes] = value
        assert torch.equal(y, expected), (pattern, dtype, n)
        assert float(s) == value * n**axes


@triton.jit
def static_mask_kernel(Y, X, BLOCK: tl.constexpr):
    """The mask is known when the kernel is compiled: y[i] = x[2 * i] where 3 <= i < 7, else 0."""
    i = tl.arange(0, BLOCK)
    tl.store(Y + i, tl.load(X + 2 * i, mask=(i >= 3) & (i < 7)))
    tl.store(Y + BLOCK + i, tl.load(X + i, mask=(i >= 3) & (i < 7)))
    tl.store(Y + 2 * BLOCK + i, tl.load(X + i * 0, mask=(i >= 3) & (i < 7)))
    tl.store(Y + 3 * BLOCK + i, tl.load(X + i, mask=i < 0))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int64], ids=str)
def test_masks_known_beforehand_leave_zeros(dtype: torch.dtype, lanes: int) -> None:
    x, y = torch.full((64,), 9).to(dtype), torch.full((4, 32), 5).to(dtype)
    harness.run(static_mask_kernel, (1,), {"Y": y, "X": x}, lanes, BLOCK=32)
    expected = torch.zeros(4, 32)
    expected[:3, 3:7] = 9
    assert torch.equal(y.float(), expected)


@triton.jit
def half_known_kernel(Y, X, FIRST: tl.constexpr, END: tl.constexpr, BLOCK: tl.constexpr):
    """Row after row, of which the same lanes are read, known when the kernel is compiled."""
    i = tl.arange(0, BLOCK)
    for row in range(0, 4):
        tl.store(Y + row * BLOCK + i, tl.load(X + row * BLOCK + i, mask=(i >= FIRST) & (i < END)))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.float32, torch.int32, torch.float16], ids=str)
def test_masks_known_to_leave_half_of_a_vector_out_leave_zeros(dtype: torch.dtype, lanes: int) -> None:
    x = torch.arange(1, 129).reshape(4, 32).to(dtype)
    for first, end in ((0, 1), (0, 3), (0, 4), (0, 27), (4, 8), (6, 8), (8, 12), (31, 32)):
        y = torch.full((4, 32), 5).to(dtype)
        harness.run(half_known_kernel, (1,), {"Y": y, "X": x}, lanes, FIRST=first, END=end, BLOCK=32)
        expected = torch.zeros_like(x)
        expected[:, first:end] = x[:, first:end]
        assert torch.equal(y, expected), (first, end)


@triton.jit
def one_mask_kernel(Y, X, flag, BLOCK: tl.constexpr):
    """One mask for all lanes, and masked loads of one element."""
    i = tl.arange(0, BLOCK)
    keep = flag > 0
    tl.store(Y + i, tl.load(X + i, mask=keep))
    tl.store(Y + BLOCK + i, tl.load(X + 2 * i, mask=keep))
    tl.store(Y + 2 * BLOCK, tl.load(X, mask=keep))
    tl.store(Y + 2 * BLOCK + 1 + i, tl.load(X + i * 0, mask=i < flag) + tl.load(X, mask=keep))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int64], ids=str)
def test_one_mask_for_a_block_or_a_scalar_leaves_zeros(dtype: torch.dtype, lanes: int) -> None:
    x = torch.full((64,), 9).to(dtype)
    for flag in (0, 1):
        y = torch.full((97,), 5).to(dtype)
        harness.run(one_mask_kernel, (1,), {"Y": y, "X": x, "flag": flag}, lanes, BLOCK=32)
        expected = torch.full((97,), 9.0 * flag)
        expected[65] *= 2
        assert torch.equal(y.float(), expected)


@triton.jit
def masked_dot_kernel(C, A, B, m, k, n, DTYPE: tl.constexpr, BLOCK: tl.constexpr):
    """c = a[:m, :k] @ b[:k, :n], loads without ``other``."""
    i, j = tl.arange(0, BLOCK)[:, None], tl.arange(0, BLOCK)[None, :]
    a = tl.load(A + i * BLOCK + j, mask=(i < m) & (j < k))
    b = tl.load(B + i * BLOCK + j, mask=(i < k) & (j < n))
    tl.store(C + i * BLOCK + j, tl.dot(a, b).to(DTYPE))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int8], ids=str)
def test_a_dot_of_masked_loads_multiplies_zeros(dtype: torch.dtype, lanes: int) -> None:
    block = 32
    total, name = (torch.int32, tl.int32) if dtype == torch.int8 else (torch.float32, tl.float32)
    a, b = (torch.randint(-4, 5, (block, block)).to(dtype) for _ in range(2))
    for m, k, n in ((5, 7, 9), (32, 1, 32), (1, 32, 31), (32, 17, 32)):
        c = torch.full((block, block), 5).to(total)
        args = {"C": c, "A": a, "B": b, "m": m, "k": k, "n": n}
        harness.run(masked_dot_kernel, (1,), args, lanes, DTYPE=name, BLOCK=block)
        expected = torch.zeros(block, block)
        expected[:m, :n] = a[:m, :k].float() @ b[:k, :n].float()
        assert torch.equal(c.float(), expected)


@triton.jit
def block_pointer_kernel(Y, X, rows, columns, BLOCK: tl.constexpr):
    x = tl.make_block_ptr(X, (rows, columns), (columns, 1), (0, 0), (BLOCK, BLOCK), (1, 0))
    y = tl.make_block_ptr(Y, (BLOCK, BLOCK), (BLOCK, 1), (0, 0), (BLOCK, BLOCK), (1, 0))
    tl.store(y, tl.load(x, boundary_check=(0, 1)))


@triton.jit
def descriptor_kernel(Y, X, rows, columns, stride, BLOCK: tl.constexpr):
    x = tl.make_tensor_descriptor(X, (rows, columns), (stride, 1), (BLOCK, BLOCK))
    y = tl.make_tensor_descriptor(Y, (BLOCK, BLOCK), (BLOCK, 1), (BLOCK, BLOCK))
    y.store([0, 0], x.load([0, 0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int64], ids=str)
def test_blocks_past_the_edge_of_a_tensor_read_zeros(dtype: torch.dtype) -> None:
    rows, columns, block = 5, 16, 32
    x = torch.full((rows, columns), 9).to(dtype)
    expected = torch.zeros(block, block)
    expected[:rows, :columns] = 9
    kernels = ((descriptor_kernel, (columns,)), (block_pointer_kernel, ()))
    for kernel, extra in kernels if harness.HAS_BLOCK_POINTERS else kernels[:1]:
        y = torch.full((block, block), 5).to(dtype)
        with cpu.active():
            kernel[(1,)](y, x, rows, columns, *extra, BLOCK=block)
        assert torch.equal(y.float(), expected), kernel


@triton.jit
def scan_kernel(Y, X, n, step, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(X + i * step, mask=i < n)
    tl.store(Y + i, tl.cumsum(x, 0))
    tl.store(Y + BLOCK + i, tl.sort(x))
    tl.store(Y + 2 * BLOCK, tl.min(x, 0))
    tl.store(Y + 2 * BLOCK + 1, tl.xor_sum(x, 0))


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
def test_scans_sorts_and_minima_see_the_zeros(dtype: torch.dtype, step: int) -> None:
    x, y = torch.full((64,), 3, dtype=dtype), torch.full((66,), -1, dtype=dtype)
    harness.run(scan_kernel, (1,), {"Y": y, "X": x, "n": 5, "step": step}, BLOCK=32)
    zeros = torch.tensor([3] * 5 + [0] * 27)
    assert torch.equal(y[:32].long(), zeros.cumsum(0))
    assert torch.equal(y[32:64].long(), zeros.sort().values)
    assert y[64:].tolist() == [0, 3]
