"""ATen's less usual functions of numbers in terms of our ops: angles, signs, products with logarithms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tritoncnn.errors import UnsupportedError
from tritoncnn.formulas.dtypes import as_float, as_number, cast, filled, is_whole, narrow, promoted, together, widen
from tritoncnn.formulas.logic import clamp
from tritoncnn.ops import OPS, Sym

op = OPS


def _in_f32(name: str) -> Callable[[Any], Any]:
    """A function with its gradient, whose terms cancel, in f32 whatever x holds."""

    def function(x: Any) -> Any:
        x = as_float(x)
        return narrow(op[name](widen(x)), x)

    return function


lgamma, digamma, erfinv = _in_f32("lgamma"), _in_f32("digamma"), _in_f32("erfinv")
i0, i0e, i1, i1e = _in_f32("i0"), _in_f32("i0e"), _in_f32("i1"), _in_f32("i1e")
_trigamma = _in_f32("trigamma")


def mvlgamma(x: Any, p: int) -> Any:
    """The logarithm of the multivariate gamma function: p (p - 1) / 4 log(pi) and lgamma of x, x - 1/2, ... x - (p - 1) / 2."""
    x = as_float(x)
    terms = [op["lgamma"](widen(x) - i / 2) for i in range(p)]
    return narrow(sum(terms[1:], terms[0]) + p * (p - 1) / 4 * math.log(math.pi), x)


def polygamma(n: int, x: Any) -> Any:
    """The n-th derivative of digamma."""
    if n > 1:
        raise UnsupportedError(f"polygamma of order {n}; 0 and 1 are known")
    return _trigamma(x) if n else digamma(x)


def nextafter(a: Any, b: Any) -> Any:
    """Raises UnsupportedError in 16 bits, whose neighbours are others."""
    if promoted(a, b) != "f32":
        raise UnsupportedError(f"nextafter of {promoted(a, b)}; f32 is known")
    return op["nextafter"](cast(a, "f32"), cast(b, "f32"))


def hypot(a: Any, b: Any) -> Any:
    return together(op["hypot"], as_float(a), as_float(b))


def atan2(a: Any, b: Any) -> Any:
    return together(op["atan2"], as_float(a), as_float(b))


def copysign(a: Any, b: Any) -> Any:
    """|a| with the sign of b."""
    dtype = promoted(a, b)
    dtype = "f32" if is_whole(dtype) else dtype
    return op["copysign"](cast(a, dtype), cast(b, dtype))


def angle(x: Any) -> Any:
    """Pi where x is below 0, 0 elsewhere, NaN at NaN; flat."""
    x = op["detach"](as_float(x))
    return op["where"](op["ne"](x, x), x, op["where"](x < 0.0, math.pi, filled(x, 0.0)))


def signbit(x: Any) -> Any:
    """Whether x is below 0, or -0.0."""
    if is_whole(x.dtype):
        return op["lt"](as_number(x), 0)
    return op["copysign"](filled(x, 1.0), x) < 0.0


def xlogy(a: Any, b: Any) -> Any:
    """a log(b), and 0 where a is 0, unless b is NaN."""
    return together(lambda a, b: _times_log(a, b, op["log"], 0.0), as_float(a), as_float(b))


def xlog1py(a: Any, b: Any) -> Any:
    """a log(1 + b), and 0 where a is 0, unless b is NaN."""
    return together(lambda a, b: _times_log(a, b, op["log1p"], -1.0), as_float(a), as_float(b))


def _times_log(a: Any, b: Any, log: Any, pole: float) -> Any:
    """At a = 0 no gradient goes to a where b is not above the ``pole`` of the logarithm."""
    if not isinstance(b, Sym):
        b = filled(a, float(b))
    if not isinstance(a, Sym):
        a = filled(b, float(a))
    nothing = op["eq"](a, 0.0)
    product = a * log(b)
    value = op["where"](op["bit_and"](nothing, op["eq"](b, b)), 0.0, product)
    held = op["where"](op["bit_and"](nothing, op["le"](b, pole)), op["detach"](a), a)
    return op["straight_through"](value, held * log(b))


def entr(x: Any) -> Any:
    """-x log(x); 0 at 0, minus infinity below."""
    x = as_float(x)
    value = op["where"](
        x > 0, -(x * op["log"](x)), op["where"](op["eq"](x, 0.0), 0.0, op["where"](x < 0, -math.inf, x))
    )
    return op["straight_through"](value, x * op["detach"](-(op["log"](x) + 1.0)))


def logit(x: Any, eps: float | None = None) -> Any:
    """log(x / (1 - x)) of x, or of x between eps and 1 - eps."""
    x = as_float(x)
    z = widen(x if eps is None else clamp(x, eps, 1.0 - eps))
    y = op["log"](z / (1.0 - z))
    if eps is None:
        legal = op["bit_and"](op["ge"](z, 0.0), op["le"](z, 1.0))
        slope = op["where"](legal, op["reciprocal"](z * (1.0 - z)), math.nan)
        y = op["straight_through"](y, z * op["detach"](slope))
    return narrow(y, x)


def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), 1 at 0, where the gradient is 0."""
    x = as_float(x)
    z = widen(x)
    middle = op["eq"](z, 0.0)
    angle = op["where"](middle, 1.0, z) * math.pi
    return narrow(op["where"](middle, 1.0, op["sin"](angle) / angle), x)
