"""Arithmetic, casts and functions of the CPU backend against torch, numpy and exact integers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from tritoncnn import cpu

from . import harness

LANES = (16, 8, 4)
NAN, INF = float("nan"), float("inf")
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, NAN, INF, -INF, 1e-45, -1e-40, 1.2e-38, 3e38, -3e38, 88.7, 89.1, -87.4, -103.9, -104.5,
         127.9, 128.0, -126.0, -149.0, -150.5, 1e-8, 0.6250001, 0.9277]  # fmt: skip


@triton.jit
def unary_kernel(Y, X, n, OP: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + offs, mask=offs < n, other=0.0)
    if OP == "exp":
        y = tl.exp(x)
    elif OP == "exp2":
        y = tl.exp2(x)
    elif OP == "log":
        y = tl.log(x)
    elif OP == "log2":
        y = tl.log2(x)
    elif OP == "erf":
        y = tl.erf(x)
    elif OP == "sqrt":
        y = tl.sqrt(x)
    elif OP == "sqrt_rn":
        y = tl.sqrt_rn(x)
    elif OP == "rsqrt":
        y = tl.rsqrt(x)
    elif OP == "sin":
        y = tl.sin(x)
    elif OP == "cos":
        y = tl.cos(x)
    elif OP == "abs":
        y = tl.abs(x)
    elif OP == "floor":
        y = tl.floor(x)
    elif OP == "ceil":
        y = tl.ceil(x)
    elif OP == "neg":
        y = -x
    elif OP == "sigmoid":
        y = tl.sigmoid(x)
    elif OP == "clamp":
        y = tl.clamp(x, -0.5, 2.0)
    tl.store(Y + offs, y, mask=offs < n)


ORACLE = {
    "exp": torch.exp, "exp2": torch.exp2, "log": torch.log, "log2": torch.log2, "erf": torch.erf, "sqrt": torch.sqrt,
    "sqrt_rn": torch.sqrt, "rsqrt": torch.rsqrt, "sin": torch.sin, "cos": torch.cos, "abs": torch.abs,
    "floor": torch.floor, "ceil": torch.ceil, "neg": torch.neg, "sigmoid": torch.sigmoid,
    "clamp": lambda x: torch.where(x.isnan(), -0.5, x.clamp(-0.5, 2.0)),
}  # fmt: skip
ULPS = {"sin": 1, "cos": 1, "sigmoid": 2, "rsqrt": 1.5, **dict.fromkeys(["exp", "exp2", "log", "log2", "erf"], 2)}


def ulps(got: torch.Tensor, exact: torch.Tensor) -> float:
    """Largest error in units of the last place of the f32 nearest to the exact f64 value."""
    near = exact.float()
    assert torch.equal(got.isnan(), near.isnan())
    big = near.isinf() | got.isinf()
    finite = ~near.isnan() & ~big
    assert torch.equal(got[big], near[big])
    spacing = torch.from_numpy(np.spacing(near.abs().numpy())).double()
    return float(((got.double() - exact).abs() / spacing)[finite].max())


@pytest.mark.parametrize("op", list(ORACLE))
def test_functions_stay_within_their_ulps_on_ordinary_and_odd_numbers(op: str) -> None:
    torch.manual_seed(1)
    scale = 60.0 if op.startswith("exp") else 3.0
    x = torch.cat(
        [torch.tensor(EDGES), torch.randn(3000) * scale, torch.rand(3000) * 2, torch.exp(torch.randn(2000) * 20)]
    )
    y = torch.empty_like(x)
    harness.run(unary_kernel, (triton.cdiv(len(x), 256),), {"Y": y, "X": x, "n": len(x)}, OP=op, BLOCK=256)
    assert ulps(y, ORACLE[op](x.double())) <= ULPS.get(op, 0.5000001)


@triton.jit
def tanh_kernel(Y, X, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + offs)
    tl.store(Y + offs, 2 / (1 + tl.exp(-2 * x)) - 1)


@triton.jit
def binary_kernel(Y, A, B, n, OP: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a = tl.load(A + offs, mask=offs < n)
    b = tl.load(B + offs, mask=offs < n)
    if OP == "add":
        y = a + b
    elif OP == "sub":
        y = a - b
    elif OP == "mul":
        y = a * b
    elif OP == "div":
        y = a / b
    elif OP == "div_rn":
        y = tl.div_rn(a, b)
    elif OP == "mod":
        y = a % b
    elif OP == "floordiv":
        y = a // b
    elif OP == "and":
        y = a & b
    elif OP == "or":
        y = a | b
    elif OP == "xor":
        y = a ^ b
    elif OP == "shl":
        y = a << (b & 7)
    elif OP == "shr":
        y = a >> (b & 7)
    elif OP == "max":
        y = tl.maximum(a, b)
    elif OP == "min":
        y = tl.minimum(a, b)
    elif OP == "maxnan":
        y = tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
    elif OP == "minnan":
        y = tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)
    elif OP == "lt":
        y = a < b
    elif OP == "le":
        y = a <= b
    elif OP == "eq":
        y = a == b
    elif OP == "ne":
        y = a != b
    elif OP == "ge":
        y = a >= b
    elif OP == "where":
        y = tl.where(a > b, a, b)
    elif OP == "mulhi":
        y = tl.umulhi(a, b)
    tl.store(Y + offs, y, mask=offs < n)


def run_binary(
    op: str, a: torch.Tensor, b: torch.Tensor, out: torch.dtype | None = None, lanes: int = 0
) -> torch.Tensor:
    y = torch.empty(len(a), dtype=out or a.dtype)
    harness.run(
        binary_kernel, (triton.cdiv(len(a), 64),), {"Y": y, "A": a, "B": b, "n": len(a)}, lanes, OP=op, BLOCK=64
    )
    return y


INTEGERS = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "and": torch.bitwise_and, "or": torch.bitwise_or,
            "xor": torch.bitwise_xor, "max": torch.maximum, "min": torch.minimum}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8])
@pytest.mark.parametrize("op", list(INTEGERS))
def test_integer_arithmetic_wraps_as_torch_does(op: str, dtype: torch.dtype) -> None:
    info = torch.iinfo(dtype)
    torch.manual_seed(2)
    a, b = (torch.randint(info.min, info.max, (200,), dtype=dtype) for _ in range(2))
    torch.testing.assert_close(run_binary(op, a, b), INTEGERS[op](a, b), rtol=0, atol=0)


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
    q, r = run_binary("floordiv", a, b, lanes=lanes), run_binary("mod", a, b, lanes=lanes)
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
    torch.testing.assert_close(run_binary("shr", a, b), a >> b, rtol=0, atol=0)
    torch.testing.assert_close(run_binary("shl", a, b), a << b, rtol=0, atol=0)


def test_umulhi_is_the_high_half() -> None:
    a, b = (torch.randint(-(2**31), 2**31 - 1, (100,), dtype=torch.int32) for _ in range(2))
    exact = [((x & 0xFFFFFFFF) * (y & 0xFFFFFFFF)) >> 32 for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert [x & 0xFFFFFFFF for x in run_binary("mulhi", a, b).tolist()] == exact


PAIRS = [(x, y) for x in (0.0, -0.0, 1.0, -2.0, NAN, INF, -INF) for y in (0.0, -0.0, 1.0, -2.0, NAN, INF, -INF)]


@pytest.mark.parametrize("lanes", LANES)
def test_comparisons_and_extremes_follow_the_rules_of_nan(lanes: int) -> None:
    a, b = (torch.tensor(c) for c in zip(*PAIRS, strict=True))
    for op, torch_op in (("lt", torch.lt), ("le", torch.le), ("eq", torch.eq), ("ne", torch.ne), ("ge", torch.ge)):
        assert torch.equal(run_binary(op, a, b, torch.bool, lanes), torch_op(a, b)), op
    for op, torch_op in (
        ("max", torch.fmax),
        ("min", torch.fmin),
        ("maxnan", torch.maximum),
        ("minnan", torch.minimum),
    ):
        torch.testing.assert_close(run_binary(op, a, b, lanes=lanes), torch_op(a, b), rtol=0, atol=0, equal_nan=True)
    got = run_binary("where", a, b, lanes=lanes)
    torch.testing.assert_close(got, torch.where(a > b, a, b), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "div_rn"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float_arithmetic_is_correctly_rounded(op: str, dtype: torch.dtype) -> None:
    a, b = torch.randn(200, dtype=dtype), torch.randn(200, dtype=dtype)
    exact = {"add": a + b, "sub": a - b, "mul": a * b, "div": a / b, "div_rn": a / b}[op]
    if op == "div_rn" and dtype == torch.float64:
        pytest.skip("div_rn takes f32 only")
    torch.testing.assert_close(run_binary(op, a, b), exact, rtol=0, atol=0)


@triton.jit
def cast_kernel(Y, X, n, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + offs, mask=offs < n)
    tl.store(Y + offs, x.to(Y.dtype.element_ty), mask=offs < n)


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
    y = torch.zeros(len(x), dtype=dtype)
    harness.run(cast_kernel, (1,), {"Y": y, "X": x, "n": len(x)}, lanes, BLOCK=triton.next_power_of_2(len(x)))
    return y


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


@triton.jit
def half_kernel(Y, A, B, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(Y + offs, tl.load(A + offs) * tl.load(B + offs) + tl.load(A + offs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_arithmetic_in_narrow_floats_is_close_to_torch(dtype: torch.dtype) -> None:
    a, b = torch.randn(64).to(dtype), torch.randn(64).to(dtype)
    y = torch.empty_like(a)
    harness.run(half_kernel, (1,), {"Y": y, "A": a, "B": b}, BLOCK=64)
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


def test_tanh_by_composition_is_close() -> None:
    x = torch.randn(256)
    y = torch.empty(256)
    harness.run(tanh_kernel, (1,), {"Y": y, "X": x}, BLOCK=256)
    torch.testing.assert_close(y, torch.tanh(x), rtol=0, atol=4 * 2**-24)
    assert math.isfinite(float(y.sum()))


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
