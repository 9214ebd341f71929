"""ATen's arithmetic in terms of our ops: sums, products, quotients, comparisons, logic, rounding, powers.

Operands meet in torch's promoted dtype; whole numbers are computed as such, exactly.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

from tritoncnn.errors import UnsupportedError
from tritoncnn.formulas.dtypes import FLOATS, as_float, as_number, cast, filled, held, narrow, promoted, together, widen
from tritoncnn.ops import OPS, Sym

Emit = Callable[..., Any]
op = OPS
LOGIC = {"add": "bit_or", "mul": "bit_and", "maximum": "bit_or", "minimum": "bit_and"}  # of truth values


def is_whole(dtype: str) -> bool:
    return dtype not in FLOATS


def unary(name: str) -> Emit:
    """A function of floats; whole numbers become f32 first."""
    return lambda x: op[name](as_float(x))


def binary(name: str) -> Emit:
    """Add, mul, maximum or minimum in the promoted dtype; of truth values what that means in logic."""

    def emit(a: Any, b: Any) -> Any:
        dtype = promoted(a, b)
        return together(op[LOGIC[name] if dtype == "i1" else name], a, b)

    return emit


def add(a: Any, b: Any, alpha: float = 1) -> Any:
    return binary("add")(a, b if alpha == 1 else scaled(b, alpha, a))


def sub(a: Any, b: Any, alpha: float = 1) -> Any:
    return together(op["sub"], a, b if alpha == 1 else scaled(b, alpha, a))


def scaled(b: Any, alpha: float, a: Any) -> Any:
    """b * alpha in the dtype in which a and b meet."""
    return cast(b, promoted(a, b)) * alpha


def rsub(a: Any, b: Any, alpha: float = 1) -> Any:
    if isinstance(b, Sym):
        return sub(b, a, alpha=alpha)
    x = cast(a, promoted(a, b))
    return x * -alpha + b if is_whole(x.dtype) else x * float(-alpha) + b


def div(a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    """Of whole numbers as f32, unless rounded."""
    if rounding_mode is not None:
        return floor_divide(a, b) if rounding_mode == "floor" else _trunc_divide(a, b)
    dtype = promoted(a, b)
    dtype = "f32" if is_whole(dtype) else dtype
    return op["div"](cast(a, dtype), cast(b, dtype))


def _trunc_divide(a: Any, b: Any) -> Any:
    dtype = promoted(a, b)
    if not is_whole(dtype):
        return cast(op["trunc"](op["div"](*(cast(cast(x, dtype), "f32") for x in (a, b)))), dtype)
    return together(op["quotient"], as_number(a), as_number(b))


def floor_divide(a: Any, b: Any) -> Any:
    """The quotient rounded down. Of floats as torch computes it: (a - fmod(a, b)) / b, one less where signs differ.

    Torch rounds a number that is a to 16 bits, but not one that is b.
    """
    dtype = promoted(a, b)
    a, b = held(as_number(a), dtype), cast(as_number(b), dtype)
    if is_whole(dtype):
        q = op["quotient"](a, b)
        rest = op["sub"](a, op["mul"](q, b))
        return op["sub"](q, cast(_other_sign(rest, b), q.dtype))
    rest = op["fmod"](a, b)
    q = (a - rest) / b
    q = op["where"](_other_sign(rest, b), q - 1.0, q)
    low = op["floor"](q)
    q = op["where"](op["eq"](q, 0.0), (a / b) * 0.0, op["where"](q - low > 0.5, low + 1.0, low))
    if isinstance(b, Sym):
        return op["where"](op["eq"](b, 0.0), a / b, q)
    return a / b if b == 0 else q


def _other_sign(rest: Any, b: Any) -> Any:
    """Where something is left over and its sign is not that of b."""
    negative = op["lt"](rest, 0)
    if not isinstance(b, Sym):
        differs = negative if b > 0 else op["bit_not"](negative)
    else:
        differs = op["bit_xor"](negative, op["lt"](b, 0))
    return op["bit_and"](op["ne"](rest, 0), differs)


def remainder(a: Any, b: Any) -> Any:
    """What is left of a after whole multiples of b, with the sign of b."""
    dtype = promoted(a, b)
    a, b = held(as_number(a), dtype), held(as_number(b), dtype)
    rest = fmod(a, b)
    y = op["where"](_other_sign(rest, b), op["add"](rest, b), rest)
    if is_whole(dtype) or not isinstance(b, Sym):
        return y
    return op["straight_through"](y, op["sub"](a, b * op["detach"](floor_divide(a, b))))


def fmod(a: Any, b: Any) -> Any:
    """What is left of a after whole multiples of b, with the sign of a."""
    dtype = promoted(a, b)
    a, b = held(a, dtype), held(b, dtype)
    return op["sub"](a, op["mul"](op["quotient"](a, b), b)) if is_whole(dtype) else op["fmod"](a, b)


def compare(name: str) -> Emit:
    def emit(a: Any, b: Any) -> Any:
        dtype = promoted(a, b)
        if dtype == "i1":
            a, b = cast(a, "i64"), cast(b, "i64") if isinstance(b, Sym) else int(b)
        else:
            a, b = held(a, dtype), held(b, dtype)
        return op[name](a, b)

    return emit


def as_truth(x: Any) -> Any:
    """Whether x is not 0."""
    return cast(x, "i1")


def logical(name: str) -> Emit:
    return lambda a, b: op[name](as_truth(a), as_truth(b))


def logical_not(x: Any) -> Any:
    return op["bit_not"](as_truth(x))


def bitwise(name: str) -> Emit:
    return lambda a, b: together(op[name], a, b)


def shift(name: str) -> Emit:
    def emit(a: Any, b: Any) -> Any:
        dtype = promoted(a, b)
        if dtype in FLOATS or dtype == "i1":
            raise UnsupportedError(f"{name} of {dtype}: it is known of whole numbers")
        return together(op[name], a, b)

    return emit


def where(condition: Any, a: Any, b: Any) -> Any:
    condition = as_truth(condition)
    dtype = promoted(a, b)
    if dtype == "i1":
        return _where_truth(condition, a, b)
    if not isinstance(a, Sym) and not isinstance(b, Sym):
        return op["where"](condition, *(filled(condition, cast(number, dtype), dtype) for number in (a, b)))
    return op["where"](condition, cast(a, dtype), cast(b, dtype))


def _where_truth(c: Any, a: Any, b: Any) -> Any:
    """(c and a) or (not c and b); a and b may be True or False."""
    left = op["bit_and"](c, a) if isinstance(a, Sym) else c if a else None
    other = op["bit_not"](c)
    right = op["bit_and"](other, b) if isinstance(b, Sym) else other if b else None
    parts = [part for part in (left, right) if part is not None]
    return op["bit_or"](*parts) if len(parts) == 2 else parts[0] if parts else op["bit_and"](c, other)


def clamp(x: Any, low: Any = None, high: Any = None) -> Any:
    """First not below ``low``, then not above ``high``; NaN wins. On a bound the gradient goes to x, at NaN nowhere."""
    given = [bound for bound in (low, high) if bound is not None]
    dtype = promoted(x, *given)
    x, low, high = cast(x, dtype), *(None if bound is None else held(bound, dtype) for bound in (low, high))
    y = _not_beyond(_not_beyond(x, low, "lt"), high, "gt")
    if is_whole(dtype) or not given:
        return y
    path = op["where"](
        _all(op[name](x, bound) for name, bound in (("ge", low), ("le", high)) if bound is not None), x, 0.0
    )
    if isinstance(low, Sym):
        path = path + op["where"](_all([x < low, *([] if high is None else [op["lt"](low, high)])]), low, 0.0)
    if isinstance(high, Sym):
        beyond = x > high
        path = path + op["where"](beyond if low is None else op["bit_or"](beyond, op["gt"](low, high)), high, 0.0)
    return op["straight_through"](y, path)


def _all(conditions: Iterable[Any]) -> Any:
    return functools.reduce(op["bit_and"], conditions)


def _not_beyond(x: Any, bound: Any, name: str) -> Any:
    """``bound`` where x is less ("lt") or greater ("gt") than it; NaN where one of them is."""
    whole = is_whole(x.dtype)
    if isinstance(bound, Sym):
        beyond = op[name](x, bound)
        return op["where"](beyond if whole else op["bit_or"](beyond, is_nan(bound)), bound, x)
    if bound is not None and bound != bound:
        return x * math.nan
    if bound is None or (whole and math.isinf(bound)):
        return x
    return op["where"](op[name](x, bound), bound, x)


def clamp_max(x: Any, high: Any) -> Any:
    return clamp(x, None, high)


def absolute(x: Any) -> Any:
    return x if x.dtype in ("u8", "i1") else op["abs"](x)


def relu(x: Any) -> Any:
    return op["maximum"](x, 0) if is_whole(x.dtype) else op["relu"](x)


def sign(x: Any) -> Any:
    """-1, 0 or 1; it is flat: no gradient."""
    if x.dtype == "i1":
        return x
    one = cast(x > 0, x.dtype)
    return op["detach"](one if x.dtype == "u8" else op["sub"](one, cast(x < 0, x.dtype)))


def rounding(name: str) -> Emit:
    """Floor, ceil, trunc or round, of which whole numbers are the result already."""
    return lambda x: x if is_whole(x.dtype) else op[name](x)


def round_decimals(x: Any, *, decimals: int = 0) -> Any:
    factor = 10.0 ** abs(decimals)
    if is_whole(x.dtype) or decimals == 0:
        return rounding("round")(x)
    return op["round"](x * factor) / factor if decimals > 0 else op["round"](x / factor) * factor


def is_nan(x: Any) -> Any:
    return op["ne"](x, x)


def is_finite(x: Any) -> Any:
    return op["eq"](x, x) if is_whole(x.dtype) else op["lt"](op["abs"](x), math.inf)


def is_inf(x: Any) -> Any:
    return op["ne"](x, x) if is_whole(x.dtype) else op["eq"](op["abs"](x), math.inf)


PRODUCTS: dict[float, Callable[[Any], Any]] = {
    1.0: lambda x: x,
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
    4.0: lambda x: (x * x) * (x * x),
    -1.0: lambda x: op["reciprocal"](x),
}


def power(a: Any, b: Any) -> Any:
    """a ** b. Small whole powers are products, some others roots and reciprocals; whole numbers stay exact."""
    dtype = promoted(a, b)
    if is_whole(dtype):
        return _whole_power(cast(a, dtype), b)
    a, b = cast(a, dtype), cast(b, dtype)
    if isinstance(b, Sym):
        return op["pow"](a, b)
    exponent = float(b)
    if exponent == 0:
        return filled(a, 1.0)
    if not isinstance(a, Sym):
        raise UnsupportedError("a power of two numbers")
    return PRODUCTS[exponent](a) if exponent in PRODUCTS else op["power"](a, exponent=exponent)


def _whole_power(x: Any, exponent: Any) -> Any:
    if isinstance(exponent, Sym) or not isinstance(x, Sym) or not 0 <= exponent <= 64:
        raise UnsupportedError("a power of whole numbers whose exponent is no number in 0..64")
    y = op["add"](op["mul"](x, 0), 1)
    for _ in range(int(exponent)):
        y = op["mul"](y, x)
    return y


def square(x: Any) -> Any:
    return power(x, 2)


def hypot(a: Any, b: Any) -> Any:
    return together(op["hypot"], as_float(a), as_float(b))


def atan2(a: Any, b: Any) -> Any:
    return together(op["atan2"], as_float(a), as_float(b))


def larger_number(name: str) -> Emit:
    """Fmax or fmin: the larger or smaller of two, where a NaN counts for nothing. Of equals it is the first."""
    order = {"maximum": "ge", "minimum": "le"}[name]

    def emit(a: Any, b: Any) -> Any:
        dtype = promoted(a, b)
        a, b = cast(a, dtype), cast(b, dtype)
        if is_whole(dtype):
            return binary(name)(a, b)
        return op["where"](op["bit_or"](op[order](a, b), is_nan(b)), a, b)

    return emit


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
