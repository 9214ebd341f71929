"""Products by words of 32 bits: pairs of bf16 (avx512-bf16) against fp64, fours of i8 (avx512-vnni) against whole numbers."""

import pytest
import torch
import triton
import triton.language as tl

from tests.cpu import harness
from tritoncnn import cpu
from tritoncnn.cpu.lower import lower
from tritoncnn.cpu.run import engine

SHAPES = [(16, 16, 16), (1, 2, 16), (4, 64, 64), (64, 32, 128), (128, 128, 32)]


@triton.jit
def product_kernel(y_ptr, a_ptr, b_ptr, c_ptr, m, k, n, M: tl.constexpr, K: tl.constexpr, N: tl.constexpr):
    """y = a[:m, :k] @ b[:k, :n] + c on blocks of M x K and K x N."""
    rows, red, columns = tl.arange(0, M), tl.arange(0, K), tl.arange(0, N)
    a = tl.load(a_ptr + rows[:, None] * K + red, mask=(rows[:, None] < m) & (red < k), other=0)
    b = tl.load(b_ptr + red[:, None] * N + columns, mask=(red[:, None] < k) & (columns < n), other=0)
    at = rows[:, None] * N + columns
    c = tl.load(c_ptr + at)
    tl.store(y_ptr + at, tl.dot(a, b, c, out_dtype=c.dtype))


def run(shape, used, make):
    (M, K, N), (m, k, n) = shape, used
    a, b, c = make(M, K).bfloat16(), make(K, N).bfloat16(), make(M, N)
    y = torch.full((M, N), torch.nan)
    with cpu.active():
        product_kernel[(1,)](y, a, b, c, m, k, n, M, K, N)
    wanted, size = c.double(), c.double().abs()
    wanted[:m, :n] += a.double()[:m, :k] @ b.double()[:k, :n]
    size[:m, :n] += a.double().abs()[:m, :k] @ b.double().abs()[:k, :n]
    return y, wanted, size


@pytest.mark.parametrize("shape", SHAPES)
def test_whole_numbers_are_exact(shape):
    torch.manual_seed(0)
    y, wanted, _ = run(shape, shape, lambda *s: torch.randint(-4, 5, s).float())
    torch.testing.assert_close(y.double(), wanted, rtol=0, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_masked_factors_count_as_zero_also_an_odd_reduction(shape):
    torch.manual_seed(1)
    used = tuple(max(1, size - 1) for size in shape)
    y, wanted, size = run(shape, used, torch.randn)
    # A sum of k + 1 terms in f32, each product rounded once at most (Higham, gamma_n).
    torch.testing.assert_close(
        y.double() / (size + 1e-30), wanted / (size + 1e-30), rtol=0, atol=(shape[1] + 2) * 2**-24
    )


EXTREMES = [(16, 16, 16), (1, 4, 16), (5, 8, 32), (64, 64, 128), (128, 32, 48)]


@pytest.mark.parametrize("shape", EXTREMES)
@pytest.mark.parametrize("less", [0, 1, 3])
def test_whole_numbers_of_8_bits_are_exact(shape, less):
    torch.manual_seed(2)
    (M, K, N), (m, k, n) = (triton.next_power_of_2(s) for s in shape), (max(1, s - less) for s in shape)
    a, b = (torch.randint(-128, 128, s).to(torch.int8) for s in ((M, K), (K, N)))
    a[0], b[:, 0] = -128, -128
    c, y = torch.randint(-(2**31), 2**31 - 1, (M, N)).to(torch.int32), torch.zeros(M, N, dtype=torch.int32)
    with cpu.active():
        product_kernel[(1,)](y, a, b, c, m, k, n, M, K, N)
    wanted = c.long()
    wanted[:m, :n] += a.long()[:m, :k] @ b.long()[:k, :n]
    assert torch.equal(y, wanted.to(torch.int32))  # both wrap around


def test_infinities_and_nans_come_through():
    def make(*shape):
        x = torch.ones(shape)
        x[0, 0], x[-1, -1] = torch.inf, torch.nan
        return x

    y, wanted, _ = run((16, 16, 16), (16, 16, 16), make)
    torch.testing.assert_close(y.double(), wanted, equal_nan=True)


def test_the_instruction_is_used_where_the_cpu_has_it():
    signature = {
        "y_ptr": "*fp32",
        "a_ptr": "*bf16",
        "b_ptr": "*bf16",
        "c_ptr": "*fp32",
        "m": "i32",
        "k": "i32",
        "n": "i32",
    }
    text = harness.ttir(product_kernel, signature, {"M": 16, "K": 16, "N": 16})
    assert "dpbf16ps" in lower(text, lanes=16, features=("avx512bf16",))
    assert "dpbf16ps" not in lower(text, lanes=16)
    assert "dpbf16ps" not in lower(text, lanes=8, features=("avx512bf16",))
    kernel = cpu.compile_kernel(product_kernel, signature, {"M": 16, "K": 16, "N": 16})
    assert ("dpbf16ps" in kernel.llvm_ir()) == ("avx512bf16" in engine.host().of_note)


def test_the_instruction_for_8_bits_is_used_where_the_cpu_has_it():
    signature = {"y_ptr": "*i32", "a_ptr": "*i8", "b_ptr": "*i8", "c_ptr": "*i32", "m": "i32", "k": "i32", "n": "i32"}
    text = harness.ttir(product_kernel, signature, {"M": 16, "K": 16, "N": 16})
    assert "vpdpbusd" in lower(text, lanes=16, features=("avx512vnni",))
    assert "vpdpbusd" not in lower(text, lanes=16)
    kernel = cpu.compile_kernel(product_kernel, signature, {"M": 16, "K": 16, "N": 16})
    assert ("vpdpbusd" in kernel.llvm_ir()) == ("avx512vnni" in engine.host().of_note)


@triton.jit
def strided_kernel(
    y_ptr, a_ptr, b_ptr, m, ROW: tl.constexpr, STEP: tl.constexpr, TALL: tl.constexpr, USED: tl.constexpr
):
    rows, red, columns = tl.arange(0, 32), tl.arange(0, 32), tl.arange(0, 32)
    keep = red[None, :] < USED
    if not TALL:
        keep = keep & (rows[:, None] < m)
    a = tl.load(a_ptr + rows[:, None] * ROW + red * STEP, mask=keep, other=0)
    b = tl.load(b_ptr + red[:, None] * 32 + columns)
    tl.store(y_ptr + rows[:, None] * 32 + columns, tl.dot(a, b, out_dtype=y_ptr.dtype.element_ty))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
@pytest.mark.parametrize("tall", [False, True])
@pytest.mark.parametrize("used", [32, 31, 6])
@pytest.mark.parametrize(
    ("row", "step", "start"), [(64, 1, 0), (64, 1, 1), (33, 1, 0), (33, 1, 1), (64, 2, 0), (1, 40, 0), (1, 33, 1)]
)
def test_rows_of_any_stride_and_start_make_words(row, step, start, used, tall, dtype):
    memory, b = (torch.randint(-4, 5, shape).to(dtype) for shape in ((32 * max(row, step) + 64,), (32, 32)))
    y = torch.zeros(32, 32, dtype=torch.float32 if dtype == torch.bfloat16 else torch.int32)
    m = 32 if tall else 9
    with cpu.active():
        strided_kernel[(1,)](y, memory[start:], b, m, row, step, tall, used)
    a = memory[start:].as_strided((32, 32), (row, step), start).double()
    a[m:], a[:, used:] = 0, 0
    assert torch.equal(y.double(), a @ b.double())


@triton.jit
def lines_kernel(y_ptr, a_ptr, b_ptr, m, K: tl.constexpr, RUN: tl.constexpr, M: tl.constexpr, BLOCK: tl.constexpr):
    """Rows of A are K numbers that lie in lines of RUN neighbours, 50 apart, as those of a convolution do."""
    rows, red, columns = tl.arange(0, M), tl.arange(0, BLOCK), tl.arange(0, 16)
    at = rows[:, None] * 3 + (red // RUN * 50 + red % RUN)
    a = tl.load(a_ptr + at, mask=(rows[:, None] < m) & (red < K), other=0)
    b = tl.load(b_ptr + red[:, None] * 16 + columns, mask=red[:, None] < K, other=0)
    tl.store(y_ptr + rows[:, None] * 16 + columns, tl.dot(a, b))


@pytest.mark.parametrize(
    ("run", "k", "block"), [(7, 21, 32), (9, 27, 32), (40, 120, 128), (5, 15, 16), (128, 127, 128)]
)
def test_rows_that_are_copied_in_runs_bring_nothing_of_what_lies_between_them(run: int, k: int, block: int) -> None:
    torch.manual_seed(2)
    m, lines = 5, -(-k // run)
    a, b = torch.full((16 * 3 + max(run, 50) * lines,), torch.nan).bfloat16(), torch.randn(block, 16).bfloat16()
    at = torch.arange(m)[:, None] * 3 + torch.arange(k) // run * 50 + torch.arange(k) % run
    a[at.flatten()] = torch.randn(at.numel()).bfloat16()
    y = torch.full((16, 16), torch.nan)
    with cpu.active():
        lines_kernel[(1,)](y, a, b, m, k, run, 16, block)
    rows, columns = a[at].double(), b[:k].double()
    error = (y[:m].double() - rows @ columns).abs()
    assert (error <= (k + 2) * 2**-24 * (rows.abs() @ columns.abs())).all()
    assert (y[m:] == 0).all()
