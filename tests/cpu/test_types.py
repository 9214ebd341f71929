"""Element types of the CPU backend: 8-bit floats, constants with different elements, rounding and saturation."""

from __future__ import annotations

import operator

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime.driver import driver

from tritoncnn import cpu
from tritoncnn.cpu.lower import lower

from . import harness
from .harness import elementwise

LANES = (16, 4)
FP8 = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]
WIDE = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


@triton.jit
def cast_kernel(Y, X, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + offs, mask=offs < n)
    tl.store(Y + offs, x.to(Y.dtype.element_ty), mask=offs < n)


@triton.jit
def truncating_kernel(Y, X, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + offs, mask=offs < n)
    tl.store(Y + offs, x.to(Y.dtype.element_ty, fp_downcast_rounding="rtz"), mask=offs < n)


def cast(x: torch.Tensor, dtype: torch.dtype, lanes: int = 0, kernel=cast_kernel) -> torch.Tensor:
    y = torch.zeros(len(x), dtype=dtype)
    harness.run(kernel, (triton.cdiv(len(x), 256),), {"Y": y, "X": x, "n": len(x)}, lanes, BLOCK=256)
    return y


def same(got: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal, NaN for NaN and zeros with their signs."""
    nan = expected.isnan()
    assert torch.equal(got.isnan(), nan)
    got, expected = got[~nan].double(), expected[~nan].double()
    assert torch.equal(got, expected), (got[got != expected], expected[got != expected])
    assert torch.equal(got.signbit(), expected.signbit())


def all_codes(dtype: torch.dtype) -> torch.Tensor:
    return torch.arange(256, dtype=torch.uint8).view(dtype)


def saturated(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    most = torch.finfo(dtype).max
    return x.double().clamp(-most, most).to(x.dtype).to(dtype)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", FP8)
@pytest.mark.parametrize("wide", WIDE)
def test_every_8_bit_float_widens_exactly_and_comes_back(dtype: torch.dtype, wide: torch.dtype, lanes: int) -> None:
    codes = all_codes(dtype)
    exact = codes.float().to(wide)
    got = cast(codes, wide, lanes)
    same(got.float(), exact.float())
    finite = exact.isfinite()
    assert torch.equal(cast(got[finite], dtype, lanes).view(torch.uint8), codes[finite].view(torch.uint8))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", FP8)
@pytest.mark.parametrize("wide", WIDE)
def test_narrowing_to_8_bits_rounds_to_even_and_saturates(dtype: torch.dtype, wide: torch.dtype, lanes: int) -> None:
    codes = all_codes(dtype).double()
    codes = codes[codes.isfinite()].sort().values
    halves = (codes[1:] + codes[:-1]) / 2  # ties, and their neighbours on both sides
    near = [halves, halves * (1 + 2**-7), halves * (1 - 2**-7), torch.randn(1000).double() * 100]
    edges = torch.tensor([1e6, -1e6, float("inf"), float("-inf"), float("nan"), 1e-9, -1e-9, 0.0, -0.0]).double()
    x = torch.cat([*near, edges]).to(wide)
    same(cast(x, dtype, lanes).float(), saturated(x, dtype).float())


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_8_bit_floats_go_through_tritons_launcher(dtype: torch.dtype) -> None:
    x = torch.randn(300).to(dtype)
    y = torch.empty(300)
    with cpu.active():
        cast_kernel[(2,)](y, x, 300, BLOCK=256)
    assert torch.equal(y, x.float())
    kind = "*fp8e4nv" if dtype == torch.float8_e4m3fn else "*fp8e5"
    kernel = cpu.compile_kernel(cast_kernel, {"Y": "*fp32", "X": kind, "n": "i32"}, {"BLOCK": 256})
    y.zero_()
    kernel.launch((2,), (y, x, 300))
    assert torch.equal(y, x.float())


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_arithmetic_of_8_bit_floats_rounds_each_result(dtype: torch.dtype) -> None:
    a, b = torch.randn(64).to(dtype), torch.randn(64).to(dtype)
    y = elementwise("tl.where(a < b, a * b, a + b)", a, b)
    af, bf = a.float(), b.float()
    assert torch.equal(elementwise("a < b", a, b, dtype=torch.bool), af < bf)
    assert torch.equal(y.float(), torch.where(af < bf, (af * bf).to(dtype).float(), (af + bf).to(dtype).float()))


def toward_zero(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    near = x.to(dtype)
    most = torch.tensor(torch.finfo(dtype).max, dtype=dtype)
    step = torch.where(near.isinf(), most.copysign(near), torch.nextafter(near, torch.zeros_like(near)))
    return torch.where(near.double().abs() > x.double().abs(), step, near)


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
def test_rounding_toward_zero_never_grows(narrow: torch.dtype) -> None:
    bits = torch.randint(-(2**31), 2**31 - 1, (4000,), dtype=torch.int32)
    x = torch.cat([bits.view(torch.float32), torch.randn(1000), torch.tensor([65519.0, 65520.0, -1e9, 3.4e38, 1e-7])])
    x = x[~x.isinf()]
    same(cast(x, narrow, kernel=truncating_kernel), toward_zero(x, narrow))


@pytest.mark.parametrize("wide", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("narrow", FP8)
def test_rounding_toward_zero_to_8_bits_takes_the_next_smaller_number(narrow: torch.dtype, wide: torch.dtype) -> None:
    numbers = all_codes(narrow).float()
    sizes = numbers[numbers.isfinite()].abs().unique()  # sorted
    x = torch.cat([torch.randn(1000) * 20, torch.randn(300) * 2**-12, sizes, -sizes, torch.tensor([6e4, -6e4])]).to(
        wide
    )
    below = sizes[torch.searchsorted(sizes, x.float().abs(), right=True) - 1]
    got = cast(x, narrow, kernel=truncating_kernel).float()
    assert torch.equal(got, below.copysign(x.float()))


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
def test_doubles_are_rounded_once(narrow: torch.dtype) -> None:
    tie = torch.tensor([1 + 2.0**-11, 1 + 2.0**-8, 3.0, 5.0e-8], dtype=torch.float64)
    x = torch.cat([tie, tie * (1 + 2.0**-40), tie * (1 - 2.0**-40), torch.randn(500, dtype=torch.float64)])
    digits = 8 if narrow == torch.bfloat16 else 11
    mantissa, exponent = torch.frexp(x)
    exponent = exponent.clamp(min=-125 if narrow == torch.bfloat16 else -13)
    mantissa = torch.ldexp(x, -exponent)
    exact = torch.ldexp((mantissa * 2.0**digits).round(), exponent - digits)  # round: to even
    same(cast(x, narrow).double(), exact)


def test_floats_out_of_range_saturate_as_on_gpus() -> None:
    x = torch.tensor([1e10, -1e10, float("inf"), float("-inf"), float("nan"), 2.0**31, -(2.0**31), 1.9])
    top, low = 2**31 - 1, -(2**31)
    assert cast(x, torch.int32).tolist() == [top, low, top, low, 0, top, low, 1]
    x = torch.tensor([1e30, -1e30, float("nan"), -2.5], dtype=torch.float64)
    assert cast(x, torch.int64).tolist() == [2**63 - 1, -(2**63), 0, -2]
    assert cast(torch.tensor([2.0**32, 3e9, 1.5]), torch.uint32).tolist()[1:] == [3_000_000_000, 1]
    assert cast(torch.tensor([1.5e19, -3.0, float("nan")]), torch.uint64).tolist() == [
        int(torch.tensor(1.5e19).item()),
        0,
        0,
    ]


UNSIGNED = {
    "a // b": lambda a, b, bits: a // b, "a % b": lambda a, b, bits: a % b, "a >> (b & 7)": lambda a, b, bits: a >> (b & 7),
    "tl.maximum(a, b)": lambda a, b, bits: max(a, b), "a < b": lambda a, b, bits: int(a < b),
    "tl.umulhi(a, b)": lambda a, b, bits: a * b >> bits,
}  # fmt: skip


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.uint64])
@pytest.mark.parametrize("text", list(UNSIGNED))
def test_unsigned_numbers_have_no_sign(text: str, dtype: torch.dtype, lanes: int) -> None:
    bits = dtype.itemsize * 8
    if "mulhi" in text and bits < 32:
        pytest.skip("umulhi takes 32 or 64 bits")
    a = [0, 1, 2**bits - 1, 2 ** (bits - 1), 2 ** (bits - 1) + 7, 100]
    b = [1, 3, 2, 2**bits - 1, 7, 2 ** (bits - 1)]
    y = elementwise(text, torch.tensor(a, dtype=dtype), torch.tensor(b, dtype=dtype), lanes=lanes)
    assert y.tolist() == [UNSIGNED[text](p, q, bits) for p, q in zip(a, b, strict=True)]


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64, torch.uint8])
def test_shifts_by_the_width_or_more_leave_zeros_or_the_sign(dtype: torch.dtype, lanes: int) -> None:
    bits = dtype.itemsize * 8
    amounts = [0, 1, bits - 1, bits, bits + 1, 100, 3, 7] * 2
    a = torch.tensor([5, 77, 1, 3, 100, 9, 64, 127, torch.iinfo(dtype).min, 0, 1, 2, 55, 88, 99, 111], dtype=dtype)
    a[4] = torch.iinfo(dtype).min
    for text, shift in (("a >> b", operator.rshift), ("a << b", operator.lshift)):
        y = elementwise(text, a, torch.tensor(amounts, dtype=dtype), lanes=lanes)
        exact = [shift(x, s) for x, s in zip(a.tolist(), amounts, strict=True)]
        wrapped = [torch.tensor(x % 2**bits, dtype=torch.uint64).view(torch.int64).to(dtype).item() for x in exact]
        assert y.tolist() == wrapped, text


# ---- constants -------------------------------------------------------------------------------------------------------
CONSTANT = """
module {{
  tt.func public @constants(%y: !tt.ptr<{elem}>) {{
    %i = tt.make_range {{end = {n} : i32, start = 0 : i32}} : tensor<{n}xi32>
    %c = arith.constant dense<{text}> : tensor<{n}x{elem}>
    %p = tt.splat %y : !tt.ptr<{elem}> -> tensor<{n}x!tt.ptr<{elem}>>
    %q = tt.addptr %p, %i : tensor<{n}x!tt.ptr<{elem}>>, tensor<{n}xi32>
    tt.store %q, %c : tensor<{n}x!tt.ptr<{elem}>>
    tt.return
  }}
}}
"""


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(
    ("elem", "dtype", "text", "expected"),
    [
        ("i32", torch.int32, "[3, -1, 4, 1]", [3, -1, 4, 1]),
        ("i64", torch.int64, "[9223372036854775807, -2, 0, 5]", [2**63 - 1, -2, 0, 5]),
        ("i8", torch.int8, '"0x01FF7F80"', [1, -1, 127, -128]),
        ("i1", torch.bool, "[true, false, false, true]", [True, False, False, True]),
        ("f32", torch.float32, "[1.5, -0.0, 0x7F800000, 2.500000e-01]", [1.5, 0.0, float("inf"), 0.25]),
        ("f16", torch.float16, "[1.0, 6.55e4, -2.0, 0.1]", [1.0, 65504.0, -2.0, 0.0999755859375]),
        ("bf16", torch.bfloat16, "[1.0, 3.0, -2.0, 0.5]", [1.0, 3.0, -2.0, 0.5]),
        ("f64", torch.float64, '"0x000000000000F03F000000000000004000000000000008400000000000001040"', [1, 2, 3, 4]),
        ("f8E4M3FN", torch.float8_e4m3fn, "[1.0, 448.0, -2.0, 0x7E]", [1.0, 448.0, -2.0, 448.0]),
        ("i32", torch.int32, "7", [7, 7, 7, 7]),
    ],
)
def test_constant_tensors_may_hold_different_elements(
    elem: str, dtype: torch.dtype, text: str, expected: list[float], lanes: int
) -> None:
    y = torch.zeros(4).to(dtype)
    harness.Compiled(lower(CONSTANT.format(elem=elem, n=4, text=text), lanes=lanes)).launch((1,), [y])
    assert y.double().tolist() == [float(x) for x in expected]


@triton.jit
def twice(x):
    return x + x


@triton.jit
def tuple_kernel(Y, X, SIZES: tl.constexpr, FUNCTIONS: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + offs)
    for k in tl.static_range(len(SIZES)):
        x = FUNCTIONS[k % 2](x) + SIZES[k]
    tl.store(Y + offs, x)


@triton.jit
def thrice(x):
    return x * 3


def test_constants_may_be_tuples_of_numbers_and_functions() -> None:
    x, y = torch.randn(16), torch.empty(16)
    with cpu.active():
        assert driver.active.get_current_target().backend == "tritoncnn"
        tuple_kernel[(1,)](y, x, (1.0, 2.0, 0.5), (twice, thrice), BLOCK=16)
    torch.testing.assert_close(y, ((x * 2 + 1) * 3 + 2) * 2 + 0.5)
