"""Arithmetic, casts and functions of the CPU backend against torch, numpy and exact integers."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from tritoncnn import cpu

from . import harness
from .harness import elementwise

LANES = (16, 8, 4)
NAN, INF = float("nan"), float("inf")
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, NAN, INF, -INF, 1e-45, -1e-40, 1.2e-38, 3e38, -3e38, 88.7, 89.1, -87.4, -103.9, -104.5,
         127.9, 128.0, -126.0, -149.0, -150.5, 1e-8, 0.6250001, 0.9277]  # fmt: skip


INTEGERS = {"a + b": torch.add, "a - b": torch.sub, "a * b": torch.mul, "a & b": torch.bitwise_and, "a | b": torch.bitwise_or,
            "a ^ b": torch.bitwise_xor, "tl.maximum(a, b)": torch.maximum, "tl.minimum(a, b)": torch.minimum}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8])
@pytest.mark.parametrize("text", list(INTEGERS))
def test_integer_arithmetic_wraps_as_torch_does(text: str, dtype: torch.dtype) -> None:
    info = torch.iinfo(dtype)
    torch.manual_seed(2)
    a, b = (torch.randint(info.min, info.max, (200,), dtype=dtype) for _ in range(2))
    torch.testing.assert_close(elementwise(text, a, b), INTEGERS[text](a, b), rtol=0, atol=0)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64, torch.uint8])
def test_division_truncates_and_never_traps(dtype: torch.dtype, lanes: int) -> None:
    info = torch.iinfo(dtype)
    torch.manual_seed(3)
    a, b = (torch.randint(info.min, info.max, (200,), dtype=dtype) for _ in range(2))
    a[:4] = torch.tensor([info.min, info.max, info.min, 7], dtype=dtype)
    b[:4] = torch.tensor([info.max, info.min, 1, 3], dtype=dtype)
    b[b == 0] = 3
    bad = slice(100, 110)
    b[bad] = 0  # no result is promised, but other lanes are
    a[111], b[111] = info.min, -1 if info.min else 1  # overflows
    keep = torch.ones(200, dtype=torch.bool)
    keep[bad] = False
    keep[111] = False
    q, r = elementwise("a // b", a, b, lanes=lanes), elementwise("a % b", a, b, lanes=lanes)
    safe = torch.where(b == 0, torch.ones_like(b), b)
    safe[111] = 1
    exact = torch.div(a, safe, rounding_mode="trunc")
    torch.testing.assert_close(q[keep], exact[keep], rtol=0, atol=0)
    torch.testing.assert_close(r[keep], (a - exact * safe)[keep], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8])
def test_shifts_keep_or_drop_the_sign(dtype: torch.dtype) -> None:
    info = torch.iinfo(dtype)
    a = torch.randint(info.min, info.max, (100,), dtype=dtype)
    b = torch.randint(0, 8, (100,), dtype=dtype)
    torch.testing.assert_close(elementwise("a >> (b & 7)", a, b), a >> b, rtol=0, atol=0)
    torch.testing.assert_close(elementwise("a << (b & 7)", a, b), a << b, rtol=0, atol=0)


def test_umulhi_is_the_high_half() -> None:
    a, b = (torch.randint(-(2**31), 2**31 - 1, (100,), dtype=torch.int32) for _ in range(2))
    exact = [((x & 0xFFFFFFFF) * (y & 0xFFFFFFFF)) >> 32 for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert [x & 0xFFFFFFFF for x in elementwise("tl.umulhi(a, b)", a, b).tolist()] == exact


COMPARISONS = {"a < b": torch.lt, "a <= b": torch.le, "a == b": torch.eq, "a != b": torch.ne, "a >= b": torch.ge}
EXTREMES = {
    "tl.maximum(a, b)": torch.fmax, "tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)": torch.maximum,
    "tl.minimum(a, b)": torch.fmin, "tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)": torch.minimum,
}  # fmt: skip
PAIRS = [(x, y) for x in (0.0, -0.0, 1.0, -2.0, NAN, INF, -INF) for y in (0.0, -0.0, 1.0, -2.0, NAN, INF, -INF)]


@pytest.mark.parametrize("lanes", LANES)
def test_comparisons_and_extremes_follow_the_rules_of_nan(lanes: int) -> None:
    a, b = (torch.tensor(c) for c in zip(*PAIRS, strict=True))
    for text, wanted in COMPARISONS.items():
        assert torch.equal(elementwise(text, a, b, dtype=torch.bool, lanes=lanes), wanted(a, b)), text
    for text, wanted in EXTREMES.items():
        got = elementwise(text, a, b, lanes=lanes)
        torch.testing.assert_close(got, wanted(a, b), rtol=0, atol=0, equal_nan=True)
    got = elementwise("tl.where(a > b, a, b)", a, b, lanes=lanes)
    torch.testing.assert_close(got, torch.where(a > b, a, b), rtol=0, atol=0, equal_nan=True)


ROUNDED = {"a + b": torch.add, "a - b": torch.sub, "a * b": torch.mul, "a / b": torch.div, "tl.div_rn(a, b)": torch.div}


@pytest.mark.parametrize("text", list(ROUNDED))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float_arithmetic_is_correctly_rounded(text: str, dtype: torch.dtype) -> None:
    if "div_rn" in text and dtype == torch.float64:
        pytest.skip("div_rn takes f32 only")
    a, b = torch.randn(200, dtype=dtype), torch.randn(200, dtype=dtype)
    torch.testing.assert_close(elementwise(text, a, b), ROUNDED[text](a, b), rtol=0, atol=0)


@triton.jit
def _unsigned_extremes(y_ptr, x_ptr):
    a, b = tl.load(x_ptr), tl.load(x_ptr + 1)
    tl.store(y_ptr, tl.maximum(a, b))
    tl.store(y_ptr + 1, tl.minimum(a, b))


def test_unsigned_extremes_of_64_bit_scalars() -> None:
    """The launch code uses the same two functions of LLVM."""
    x, y = torch.tensor([5, 2**64 - 1], dtype=torch.uint64), torch.zeros(2, dtype=torch.uint64)
    cpu.compile_kernel(_unsigned_extremes, {"y_ptr": "*u64", "x_ptr": "*u64"}, {}).launch((1,), (y, x))
    assert y.tolist() == [2**64 - 1, 5]


def cast(x: torch.Tensor, dtype: torch.dtype, lanes: int = 0) -> torch.Tensor:
    return elementwise("x", x, dtype=dtype, lanes=lanes)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
def test_narrow_floats_round_to_nearest_even(narrow: torch.dtype, lanes: int) -> None:
    bits = torch.randint(-(2**31), 2**31 - 1, (4000,), dtype=torch.int32)
    x = torch.cat([bits.view(torch.float32), torch.tensor(EDGES), torch.randn(1000)])
    got = cast(x, narrow, lanes)
    torch.testing.assert_close(got, x.to(narrow), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(cast(got, torch.float32, lanes), got.float(), rtol=0, atol=0, equal_nan=True)


NUMBERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64, torch.bool,
           torch.bfloat16, torch.float16]  # fmt: skip


@pytest.mark.parametrize("to", NUMBERS)
@pytest.mark.parametrize("source", NUMBERS)
def test_casts_agree_with_torch_on_numbers_that_both_types_hold(source: torch.dtype, to: torch.dtype) -> None:
    x = torch.arange(0, 100).to(source)
    if torch.int8 not in (source, to) and source.is_signed and (to.is_signed or to == torch.bool):
        x = torch.arange(-50, 50).to(source)
    torch.testing.assert_close(cast(x, to), x.to(to), rtol=0, atol=0)
    if source.is_floating_point and not to.is_floating_point and to not in (torch.bool, torch.uint8):
        x = (torch.arange(-50, 50) / 4).to(source)
        torch.testing.assert_close(cast(x, to), x.to(to), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_arithmetic_in_narrow_floats_is_close_to_torch(dtype: torch.dtype) -> None:
    a, b = torch.randn(64).to(dtype), torch.randn(64).to(dtype)
    y = elementwise("a * b + a", a, b)
    # one rounding of the product more or less: two units of the last place
    torch.testing.assert_close(
        y.float(), a.float() * b.float() + a.float(), rtol=2 ** (-6 if dtype == torch.bfloat16 else -9), atol=1e-2
    )


@triton.jit
def index_kernel(Y, n, D: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    q = offs // D
    tl.store(Y + offs, q * 1000 + offs % D + tl.cdiv(offs, n), mask=offs < n)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("D", [1, 3, 8, 16, 25, 28])
def test_index_arithmetic_by_constants_is_exact(D: int, lanes: int) -> None:
    n = 300
    y = torch.zeros(n, dtype=torch.int32)
    harness.run(index_kernel, (5,), {"Y": y, "n": n}, lanes, D=D, BLOCK=64)
    i = torch.arange(n, dtype=torch.int32)
    assert torch.equal(y, i // D * 1000 + i % D + (i + n - 1) // n)


@triton.jit
def random_kernel(Y, seed, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(Y + offs, tl.rand(seed, offs))


def test_random_numbers_are_the_same_for_every_width_and_uniform() -> None:
    results = []
    for lanes in LANES:
        y = torch.empty(4096)
        harness.run(random_kernel, (16,), {"Y": y, "seed": 42}, lanes, BLOCK=256)
        results.append(y)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert abs(float(results[0].mean()) - 0.5) < 0.02
    assert float(results[0].min()) >= 0
    assert float(results[0].max()) < 1


@triton.jit
def chain_kernel(Y, X, STEPS: tl.constexpr, B: tl.constexpr):
    offs = tl.arange(0, B)
    x = tl.load(X + offs)
    y = x
    for _ in tl.static_range(STEPS):
        y = y * 0.5 + x
    tl.store(Y + offs, y)


def test_a_chain_of_a_thousand_ops_is_lowered() -> None:
    x = torch.arange(32.0)
    y, wanted = torch.empty(32), x
    harness.run(chain_kernel, (1,), {"Y": y, "X": x}, STEPS=600, B=32)
    for _ in range(600):
        wanted = wanted * 0.5 + x
    torch.testing.assert_close(y, wanted, rtol=2**-20, atol=0)
