"""ATen's less usual functions of numbers in terms of our ops: angles, signs, products with logarithms."""

from __future__ import annotations

import math
from typing import Any

from tritoncnn.formulas.dtypes import as_float, as_number, cast, filled, is_whole, narrow, promoted, together, widen
from tritoncnn.formulas.logic import clamp
from tritoncnn.ops import OPS, Sym

op = OPS


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
