"""Functions of the CPU backend within 2 units in the last place of float64 references, over dense samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from . import harness

LANES = (16, 8, 4)
INF, NAN = math.inf, math.nan
ODD = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, NAN, INF, -INF, 1e-45, -1e-45, 1e-40, 1.17549435e-38, 3.4e38, -3.4e38,
       2.0**30, -(2.0**31), 1e30, 16367173 * 2.0**72, 88.7, 89.1, -87.4, -103.9, -104.5, 127.9, -149.0, 38.5, -45.1,
       1.0000001, 0.99999994]  # fmt: skip
BLOCK = 512


@triton.jit
def unary_kernel(Y, X, n, OP: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + offs, mask=offs < n, other=1.0)
    if OP == "exp":
        y = tl.exp(x)
    elif OP == "exp2":
        y = tl.exp2(x)
    elif OP == "log":
        y = tl.log(x)
    elif OP == "log2":
        y = tl.log2(x)
    elif OP == "sin":
        y = tl.sin(x)
    elif OP == "cos":
        y = tl.cos(x)
    elif OP == "erf":
        y = tl.erf(x)
    elif OP == "rsqrt":
        y = tl.rsqrt(x)
    elif OP == "tanh":
        y = libdevice.tanh(x)
    elif OP == "tan":
        y = libdevice.tan(x)
    elif OP == "asin":
        y = libdevice.asin(x)
    elif OP == "acos":
        y = libdevice.acos(x)
    elif OP == "atan":
        y = libdevice.atan(x)
    elif OP == "sinh":
        y = libdevice.sinh(x)
    elif OP == "cosh":
        y = libdevice.cosh(x)
    elif OP == "asinh":
        y = libdevice.asinh(x)
    elif OP == "acosh":
        y = libdevice.acosh(x)
    elif OP == "atanh":
        y = libdevice.atanh(x)
    elif OP == "expm1":
        y = libdevice.expm1(x)
    elif OP == "log1p":
        y = libdevice.log1p(x)
    elif OP == "log10":
        y = libdevice.log10(x)
    elif OP == "exp10":
        y = libdevice.exp10(x)
    elif OP == "cbrt":
        y = libdevice.cbrt(x)
    elif OP == "rcbrt":
        y = libdevice.rcbrt(x)
    elif OP == "sinpi":
        y = libdevice.sinpi(x)
    elif OP == "cospi":
        y = libdevice.cospi(x)
    elif OP == "erfc":
        y = libdevice.erfc(x)
    elif OP == "lgamma":
        y = libdevice.lgamma(x)
    elif OP == "tgamma":
        y = libdevice.tgamma(x)
    elif OP == "normcdf":
        y = libdevice.normcdf(x)
    elif OP == "rint":
        y = libdevice.rint(x)
    elif OP == "round":
        y = libdevice.round(x)
    elif OP == "trunc":
        y = libdevice.trunc(x)
    elif OP == "logb":
        y = libdevice.logb(x)
    else:
        y = libdevice.j0(x)
    tl.store(Y + offs, y, mask=offs < n)


def rounded_half_up(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x.abs() < 2.0**52, x.sign() * (x.abs() + 0.5).floor(), x).copysign(x)


def half_turns(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """pi times the rest of x by 2, which is exact; the sine of its whole parts is 0."""

    def of(x: torch.Tensor) -> torch.Tensor:
        rest = torch.fmod(x, 2.0)
        y = function(rest * math.pi)
        zero = torch.fmod(x, 1.0) == 0 if function is torch.sin else torch.fmod(x, 1.0).abs() == 0.5
        return torch.where(zero, 0.0, y)

    return of


def exponent(x: torch.Tensor) -> torch.Tensor:
    y = (x.abs().frexp().exponent - 1).double()
    return torch.where(x == 0, -INF, torch.where(x.isfinite(), y, x.abs()))


REFERENCE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "exp": torch.exp, "exp2": torch.exp2, "log": torch.log, "log2": torch.log2, "sin": torch.sin, "cos": torch.cos,
    "erf": torch.erf, "rsqrt": torch.rsqrt, "tanh": torch.tanh, "tan": torch.tan, "asin": torch.asin, "acos": torch.acos,
    "atan": torch.atan, "sinh": torch.sinh, "cosh": torch.cosh, "asinh": torch.asinh, "acosh": torch.acosh,
    "atanh": torch.atanh, "expm1": torch.expm1, "log1p": torch.log1p, "log10": torch.log10, "exp10": lambda x: 10.0**x,
    "cbrt": lambda x: torch.from_numpy(np.cbrt(x.numpy())), "rcbrt": lambda x: 1 / torch.from_numpy(np.cbrt(x.numpy())),
    "sinpi": half_turns(torch.sin), "cospi": half_turns(torch.cos), "erfc": torch.erfc, "lgamma": torch.lgamma,
    "tgamma": lambda x: torch.tensor([gamma(v) for v in x.tolist()], dtype=torch.float64),
    "normcdf": lambda x: 0.5 * torch.erfc(-x / math.sqrt(2)), "rint": torch.round, "round": rounded_half_up,
    "trunc": torch.trunc, "logb": exponent,
    "j0": torch.special.bessel_j0,
}  # fmt: skip
EXACT = {"rint", "round", "trunc", "logb"}


def gamma(x: float) -> float:
    try:
        return math.gamma(x)
    except OverflowError:
        return INF
    except ValueError:
        return math.copysign(INF, x) if x == 0 else NAN


def ulps(got: torch.Tensor, exact: torch.Tensor) -> float:
    """Largest error in units of the last place of the f32 nearest to the exact f64 value."""
    near = exact.float()
    assert torch.equal(got.isnan(), near.isnan())
    big = near.isinf() | got.isinf()
    assert torch.equal(got[big], near[big])
    finite = ~near.isnan() & ~big
    spacing = torch.from_numpy(np.spacing(near.abs().numpy())).double()
    return float(((got.double() - exact).abs() / spacing)[finite].max())


def sample(count: int = 20000) -> torch.Tensor:
    """Numbers of every size and the odd ones: bit patterns, ordinary numbers, small and large ones."""
    generator = torch.Generator().manual_seed(7)
    bits = torch.randint(-(2**31), 2**31 - 1, (count,), dtype=torch.int32, generator=generator).view(torch.float32)
    normal = torch.randn(count, generator=generator)
    return torch.cat([torch.tensor(ODD), bits, normal, normal * 30, torch.rand(count, generator=generator) * 2 - 1])


def unary(op: str, x: torch.Tensor, lanes: int = 0) -> torch.Tensor:
    y = torch.empty_like(x)
    args = {"Y": y, "X": x, "n": len(x)}
    harness.run(unary_kernel, (triton.cdiv(len(x), BLOCK),), args, lanes, OP=op, BLOCK=BLOCK)
    return y


@pytest.mark.parametrize("op", list(REFERENCE))
def test_a_function_is_within_two_units_in_the_last_place(op: str) -> None:
    x = sample()
    if op in ("tgamma", "lgamma", "j0"):  # references and the C library differ near the functions' zeros and poles
        x = x[(x > 3) & (x < 30)] if op != "j0" else x[x.abs() < 2]
    exact = REFERENCE[op](x.double())
    assert ulps(unary(op, x), exact) <= (0 if op in EXACT else 2)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("op", ["sin", "cos", "tan", "exp", "atan", "log1p", "cbrt"])
def test_a_function_is_the_same_at_every_width(op: str, lanes: int) -> None:
    x = sample(500)
    assert ulps(unary(op, x, lanes), REFERENCE[op](x.double())) <= 2


@pytest.mark.parametrize("op", ["sin", "cos"])
def test_signs_of_zeros_survive(op: str) -> None:
    x = torch.tensor([0.0, -0.0] * 8)
    assert torch.equal(unary(op, x).signbit(), getattr(torch, op)(x).signbit())
    for odd in ("tan", "asin", "atan", "sinh", "asinh", "atanh", "expm1", "log1p", "cbrt", "tanh"):
        assert torch.equal(unary(odd, x).signbit(), x.signbit()), odd


@pytest.mark.parametrize("op", ["exp", "log", "sin", "erf", "tanh", "atan", "cbrt", "log1p", "exp10", "erfc", "sinpi"])
def test_doubles_are_as_good_as_torchs(op: str) -> None:
    x = torch.cat([torch.randn(200), torch.tensor([0.0, 1.0, -1.0, 20.0, INF, NAN])]).double()
    torch.testing.assert_close(unary(op, x), REFERENCE[op](x), rtol=1e-14, atol=1e-15, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("op", ["sin", "exp", "log2", "erf"])
def test_halves_are_rounded_from_f32(op: str, dtype: torch.dtype) -> None:
    x = torch.randn(512).to(dtype)
    args = {"Y": torch.empty_like(x), "X": x, "n": 512}
    harness.run(half_kernel, (1,), args, OP=op, BLOCK=BLOCK)
    exact = REFERENCE[op](x.double())
    near = exact.to(dtype)
    digits = 7 if dtype == torch.bfloat16 else 10
    torch.testing.assert_close(args["Y"].double(), near.double(), rtol=2.0**-digits, atol=1e-6, equal_nan=True)


@triton.jit
def half_kernel(Y, X, n, OP: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + offs, mask=offs < n)
    if OP == "sin":
        y = tl.sin(x.to(tl.float32))
    elif OP == "exp":
        y = tl.exp(x.to(tl.float32))
    elif OP == "log2":
        y = tl.log2(x.to(tl.float32))
    else:
        y = tl.erf(x.to(tl.float32))
    tl.store(Y + offs, y, mask=offs < n)


@triton.jit
def binary_kernel(Y, A, B, n, OP: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a, b = tl.load(A + offs, mask=offs < n, other=1.0), tl.load(B + offs, mask=offs < n, other=1.0)
    if OP == "pow":
        y = libdevice.pow(a, b)
    elif OP == "atan2":
        y = libdevice.atan2(a, b)
    elif OP == "hypot":
        y = libdevice.hypot(a, b)
    elif OP == "fmod":
        y = libdevice.fmod(a, b)
    elif OP == "remainder":
        y = libdevice.remainder(a, b)
    elif OP == "copysign":
        y = libdevice.copysign(a, b)
    elif OP == "nextafter":
        y = libdevice.nextafter(a, b)
    elif OP == "fdim":
        y = libdevice.fdim(a, b)
    elif OP == "div_rn":
        y = libdevice.div_rn(a, b)
    elif OP == "norm3d":
        y = libdevice.norm3d(a, b, a)
    else:
        y = libdevice.rhypot(a, b)
    tl.store(Y + offs, y, mask=offs < n)


BINARY: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "pow": torch.pow, "atan2": torch.atan2, "hypot": torch.hypot, "fmod": torch.fmod,
    "remainder": lambda a, b: torch.tensor([ieee_remainder(*p) for p in zip(a.tolist(), b.tolist(), strict=True)]).double(),
    "copysign": torch.copysign, "fdim": lambda a, b: torch.where(a > b, a - b, torch.where(a <= b, 0.0, NAN)),
    "div_rn": torch.div, "norm3d": lambda a, b: torch.hypot(torch.hypot(a, b), a), "rhypot": lambda a, b: 1 / torch.hypot(a, b),
}  # fmt: skip


def ieee_remainder(a: float, b: float) -> float:
    return NAN if math.isnan(a) or math.isnan(b) or math.isinf(a) or b == 0 else math.remainder(a, b)


@pytest.mark.parametrize("lanes", [0, 4])
@pytest.mark.parametrize("op", list(BINARY))
def test_a_function_of_two_values_is_within_two_units_in_the_last_place(op: str, lanes: int) -> None:
    odd = torch.tensor(ODD)
    x = sample(4000)
    a = torch.cat([odd.repeat_interleave(len(odd)), x, x.abs()])
    b = torch.cat([odd.repeat(len(odd)), x.flip(0), x.roll(1)])
    y = torch.empty_like(a)
    args = {"Y": y, "A": a, "B": b, "n": len(a)}
    harness.run(binary_kernel, (triton.cdiv(len(a), BLOCK),), args, lanes, OP=op, BLOCK=BLOCK)
    exact = BINARY[op](a.double(), b.double())
    exact_in_f32 = op in ("fmod", "remainder", "copysign")
    assert ulps(y, exact) <= (0 if exact_in_f32 else 0.5000001 if op in ("div_rn", "fdim") else 2)
    if op in ("pow", "atan2"):
        assert torch.equal(y.signbit() | y.isnan(), exact.float().signbit() | y.isnan())


def test_the_next_number_is_that_of_its_own_width() -> None:
    a = torch.tensor([1.0, 0.0, -1.0, INF] * 4)
    b = torch.tensor([2.0, -1.0, 0.0, 0.0] * 4)
    y = torch.empty_like(a)
    harness.run(binary_kernel, (1,), {"Y": y, "A": a, "B": b, "n": 16}, OP="nextafter", BLOCK=BLOCK)
    assert torch.equal(y, torch.nextafter(a, b))
