"""Every pointwise op of capture's table at zeros of both signs, tiny, huge and infinite numbers and NaN, with its gradient.

A result is right when it is torch's in the same dtype, or torch's in fp64 rounded once: where the two part, torch's own
formula has lost it. Signs of zeros count in results; a gradient's zero is the same with either sign.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

import tritoncnn
from tests.applied import Applied
from tests.kernels.cases import DEEP
from tritoncnn import functional as T
from tritoncnn.capture.table import TABLE
from tritoncnn.formulas import arithmetic, logic, pointwise
from tritoncnn.formulas import special as special_functions
from tritoncnn.functional.activation import ACTIVATIONS
from tritoncnn.ops import OPS

pytestmark = pytest.mark.sweep(3)

Function = Callable[..., torch.Tensor]

SIZES = (0.0, 1e-30, 1e-10, 1e-3, 0.3, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 6.0, 10.0, 19.9, 20.1, 50.0, 88.0, 89.0, 104.0,
         1e4, 1e15, 1e30, math.inf)  # fmt: skip
PAIRED = (0.0, 1e-30, 0.5, 1.0, 2.5, 3.0, 88.0, 1e4, 1e30, math.inf)
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
RTOL = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
FULL = (
    64  # elements that torch's vector code takes at once, at most: it answers NaN otherwise than its scalar code does
)

FAMILIES = tuple(family.__name__ for family in (arithmetic, logic, pointwise, special_functions))
OTHER = {  # of these families, but no function of floats to floats, element by element
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "__and__", "__or__", "__xor__", "where", "prelu",
    "bitwise_left_shift", "bitwise_right_shift", "__lshift__", "__rshift__",
}  # fmt: skip
OPTIONS: dict[str, Function] = {  # what the table's ops do by an option
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    **{f"elu {alpha}": lambda x, a=alpha: F.elu(x, a) for alpha in (0.5, 0.0, -1.0)},
    **{f"celu {alpha}": lambda x, a=alpha: F.celu(x, a) for alpha in (0.5, -2.0)},
    **{f"leaky_relu {slope}": lambda x, s=slope: F.leaky_relu(x, s) for slope in (0.0, -0.5, 1.5)},
    **{f"softplus {beta}": lambda x, b=beta: F.softplus(x, b, 5.0) for beta in (2.0, 0.5)},
    "hardtanh from 0": lambda x: F.hardtanh(x, 0.0, 2.0),
    "hardshrink 0.3": lambda x: F.hardshrink(x, 0.3),
    "softshrink 0.3": lambda x: F.softshrink(x, 0.3),
    "threshold -0.0": lambda x: F.threshold(x, 0.0, -0.0),
    "clamp": lambda x: x.clamp(-1, 1),
    **{f"clamp_min {low}": lambda x, low=low: x.clamp_min(low) for low in (0.5, 0.0, -0.0)},
    **{f"clamp_max {high}": lambda x, high=high: x.clamp_max(high) for high in (0.5, 0.0)},
    "clamp between": lambda a, b: torch.clamp(torch.ones_like(a), a, b),
    "clamp above": lambda a, b: torch.clamp(a, min=b),
    "clamp below": lambda a, b: torch.clamp(a, max=b),
    "prelu": lambda x: F.prelu(x, torch.full((1,), 0.25, dtype=x.dtype)),
    **{f"power {e}": lambda x, e=e: x**e for e in (0, 0.5, -0.5, 1, 2, 3, 4, 5, -1, -2, -3, 1.5, 0.3, math.inf, -math.inf)},
    **{f"{base} to the x": lambda x, base=base: base**x for base in (2.0, 1.0, 0.0, 0.5, -2.0)},
    "minus relu": lambda x: -torch.relu(x), "relu of minus": lambda x: torch.relu(-x),
    "x + 0": lambda x: x + 0.0, "0 + x": lambda x: 0.0 + x, "x + -0": lambda x: x + -0.0, "x - 0": lambda x: x - 0.0,
    "x - -0": lambda x: x - -0.0, "0 - x": lambda x: 0.0 - x, "-0 - x": lambda x: -0.0 - x, "x * 1": lambda x: x * 1.0,
    "x * -1": lambda x: x * -1.0, "x / 1": lambda x: x / 1.0, "x + int": lambda x: x + 0, "1 / x": lambda x: 1.0 / x,
    "x / 0": lambda x: x / 0.0, "x * 0": lambda x: x * 0.0, "rsub": lambda x: torch.rsub(x, 0.0),
    "fmod 2": lambda x: torch.fmod(x, 2.0), "remainder -2": lambda x: torch.remainder(x, -2.0),
    "floor of x / 2": lambda x: torch.div(x, 2.0, rounding_mode="floor"),
    "trunc of x / 2": lambda x: torch.div(x, 2.0, rounding_mode="trunc"),
    **{f"round to {n}": lambda x, n=n: torch.round(x, decimals=n) for n in (1, -1)},
    "copysign -1": lambda x: torch.copysign(x, -1.0), "copysign -0": lambda x: torch.copysign(x, -0.0),
    "masked -0": lambda x: x.masked_fill(x > 1, -0.0), "where": lambda x: torch.where(x > 0, x, -x),
    "nan_to_num": lambda x: torch.nan_to_num(x, 1.0, 2.0, 3.0), "tanhshrink": F.tanhshrink, "softsign": F.softsign,
    "logaddexp": torch.logaddexp, "lerp": lambda a, b: torch.lerp(a, b, 0.3), "lerp far": lambda a, b: torch.lerp(a, b, 0.7),
    "one of one": lambda x: x.reshape(-1, 1).amax(1), "norm of one": lambda x: torch.linalg.vector_norm(x.reshape(-1, 1), dim=1),
    "smooth_l1": lambda a, b: F.smooth_l1_loss(a, b, reduction="none"),
    "huber": lambda a, b: F.huber_loss(a, b, reduction="none", delta=2.0),
}  # fmt: skip

# What remains, and why. A number is the absolute error that is allowed: of terms that cancel, or of torch's own steps.
CANCELS = {
    "gelu": 1e-6, "gelu tanh": 1e-6, "hardswish": 1e-7, "sinc": 1e-2, "special_sinc": 1e-2, "erfc": 1e-12,
    "special_erfc": 1e-12, "softsign": 1e-4, "mish": 1e-30, "silu": 1e-30, "tanhshrink": 1e-5, "expm1": 1e-15,
    "special_i0e": 1e-8, "special_i1e": 1e-8,
}  # fmt: skip
POLES = {"digamma"}  # infinite gradients at -1, -2, ..., where torch divides by the sine of a rounded multiple of pi
# The sign of zero in a tie of 0.0 and -0.0 is what the CPU's instruction makes it.
ZEROS_TIE = {
    "maximum",
    "minimum",
    "max",
    "min",
    "clamp_min",
    "clamp_max",
    "clamp above",
    "clamp below",
    "clamp between",
}


def found_in_the_table() -> dict[str, Function]:
    """Those that can be called with one tensor, or two: the first overload of each name."""
    found: dict[str, Function] = {}
    for key, formula in TABLE.items():
        name, overload = key.rsplit(".", 1)
        own = formula in OPS.values() or getattr(formula, "__module__", "") in FAMILIES
        if not own or "::" in key or name in OTHER | found.keys():
            continue
        op = getattr(getattr(torch.ops.aten, name), overload)
        needed = [a for a in op._schema.arguments if not a.has_default_value()]
        if all(str(a.type) == "Tensor" for a in needed) and len(needed) in (1, 2):
            found[name] = op
    return found


CASES = found_in_the_table() | OPTIONS


def special(dtype: torch.dtype, sizes: tuple[float, ...]) -> list[float]:
    info = torch.finfo(dtype)
    limits = (info.max, info.smallest_normal, info.smallest_normal / 4) if sizes is SIZES else ()
    kept = [size for size in (*sizes, *limits) if size <= info.max or math.isinf(size)]
    return [*kept, *(-size for size in kept), math.nan]


def operands_for(function: Function, count: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """All special values, or all pairs of some."""
    numbers = special(dtype, SIZES if count == 1 else PAIRED)
    columns = zip(*itertools.product(*[numbers] * count), strict=True)
    return tuple(torch.tensor(column, dtype=torch.float64).to(dtype).repeat_interleave(FULL) for column in columns)


def count_of(name: str, function: Function) -> int:
    if name in OPTIONS:
        return function.__code__.co_argcount - len(function.__defaults__ or ()) if hasattr(function, "__code__") else 2
    return len([a for a in function._schema.arguments if str(a.type) == "Tensor"])  # type: ignore[attr-defined]


def equal(found: torch.Tensor, wanted: torch.Tensor, atol: float, signed: bool) -> torch.Tensor:
    """Where two tensors agree: NaN with NaN, infinities and zeros exactly, all else but for rounding."""
    a, b = found.double(), wanted.double()
    near = (a - b).abs() <= RTOL[found.dtype] * b.abs() + max(atol, 2 * torch.finfo(found.dtype).smallest_normal)
    same = (a == b) & ((a != 0) | (found.signbit() == wanted.signbit()) | (not signed))
    return (a.isnan() & b.isnan()) | same | (near & a.isfinite() & b.isfinite() & ((a != 0) | (b != 0)))


def check(what: str, name: str, xs: tuple[torch.Tensor, ...], found: torch.Tensor, *wanted: torch.Tensor) -> None:
    if not found.dtype.is_floating_point:
        assert torch.equal(found, wanted[0]), what
        return
    atol = CANCELS.get(name, 0.0)
    signed = what == "the result" and name not in ZEROS_TIE
    assert found.dtype == wanted[0].dtype
    right = equal(found, wanted[0], atol, signed) | equal(found, wanted[1].to(found.dtype), atol, signed)
    if name in POLES:
        right |= found.isinf() & (xs[0] < 0) & (xs[0] == xs[0].trunc())
    at = (~right).nonzero().flatten()[::FULL][:8].tolist()
    shown = [f"{[float(x[i]) for x in xs]}: {float(found[i])}, torch {[float(y[i]) for y in wanted]}" for i in at]
    assert not shown, f"{what} of {name}: " + "; ".join(shown)


def gradients(function: Function, xs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, list[torch.Tensor] | None]:
    leaves = [x.clone().requires_grad_() for x in xs]
    y = function(*leaves)
    if not y.requires_grad:
        return y, None
    try:
        found = torch.autograd.grad(y, leaves, torch.ones_like(y), allow_unused=True)
    except RuntimeError as error:
        assert "not implemented" in str(error)
        return y.detach(), None
    zeros = (torch.zeros_like(x) for x in xs)
    return y.detach(), [zero if g is None else g for g, zero in zip(found, zeros, strict=True)]


def compare(name: str, function: Function, xs: tuple[torch.Tensor, ...]) -> None:
    y, dxs = gradients(function, xs)
    exact, exact_dxs = gradients(function, tuple(x.double() for x in xs))
    if dxs is None:
        check("the result", name, xs, tritoncnn.compile(Applied(function).eval(), xs)(*xs), y, exact)
        return
    one, two = (lambda a: function(a)), (lambda a, b: function(a, b))
    compiled = tritoncnn.compile_grad(one if len(xs) == 1 else two, wrt=("a", "b")[: len(xs)], example=xs)
    found, grads = compiled(*xs, cotangent=torch.ones_like(y))
    check("the result", name, xs, found, y, exact)
    assert exact_dxs is not None
    for grad, dx, exact_dx in zip(grads if len(xs) > 1 else (grads,), dxs, exact_dxs, strict=True):
        check("the gradient", name, xs, grad, dx, exact_dx)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_a_pointwise_op_is_torchs_at_special_values(name: str, dtype: str) -> None:
    """In f16 the activations, and all dtypes in the deep profile."""
    activation = getattr(TABLE.get(f"{name}.default"), "__module__", "") == pointwise.__name__
    if not (DEEP or dtype == "f32" or (dtype == "f16" and activation)):
        pytest.skip("16 bits are for the deep profile")
    if name == "nextafter" and dtype != "f32":
        pytest.skip("refused by name: the neighbours of 16-bit numbers are others")
    compare(name, CASES[name], operands_for(CASES[name], count_of(name, CASES[name]), DTYPES[dtype]))


THEIRS = {"none": lambda x: x * 1.0, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "tanh": torch.tanh,
          "sigmoid": torch.sigmoid}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_fused_activation_is_torchs_at_special_values(name: str) -> None:
    (x,) = operands_for(torch.relu, 1, torch.float32)
    theirs = THEIRS.get(name) or getattr(F, name)
    y, dx = gradients(theirs, (x,))
    exact, exact_dx = gradients(theirs, (x.double(),))
    found, grads = gradients(lambda x: T.activate(x, name), (x,))
    assert dx is not None
    assert exact_dx is not None
    assert grads is not None
    plain = name.replace("_tanh", " tanh")
    check("the result", plain, (x,), found, y, exact)
    check("the gradient", plain, (x,), grads[0], dx[0], exact_dx[0])


def test_the_table_is_swept() -> None:
    """The ops that must be among those found, whatever becomes of how they are found."""
    assert {"relu", "sigmoid", "exp", "hypot", "fmax", "copysign", "xlogy", "logit", "hardshrink", "celu"} <= set(CASES)
    assert len(found_in_the_table()) > 60
