"""ATen's arithmetic in terms of our ops: sums, products, quotients, comparisons, logic, rounding, powers.

Operands meet in torch's promoted dtype; whole numbers are computed as such, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tritoncnn.errors import UnsupportedError
from tritoncnn.formulas.dtypes import FLOATS, as_float, as_number, cast, filled, promoted, together, widen
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
    if not is_whole(promoted(a, b)):
        return op["trunc"](div(a, b))
    return together(op["quotient"], as_number(a), as_number(b))


def floor_divide(a: Any, b: Any) -> Any:
    """The quotient rounded down. Of floats as torch computes it: (a - fmod(a, b)) / b, one less where signs differ."""
    dtype = promoted(a, b)
    a, b = cast(as_number(a), dtype), cast(as_number(b), dtype)
    if is_whole(dtype):
        q = op["quotient"](a, b)
        rest = op["sub"](a, op["mul"](q, b))
        return op["sub"](q, cast(_other_sign(rest, b), q.dtype))
    rest = op["fmod"](a, b)
    q = (a - rest) / b
    q = op["where"](_other_sign(rest, b), q - 1.0, q)
    low = op["floor"](q)
    q = op["where"](q - low > 0.5, low + 1.0, low)
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
    a, b = cast(as_number(a), dtype), cast(as_number(b), dtype)
    rest = fmod(a, b)
    return op["where"](_other_sign(rest, b), op["add"](rest, b), rest)


def fmod(a: Any, b: Any) -> Any:
    """What is left of a after whole multiples of b, with the sign of a."""
    dtype = promoted(a, b)
    a, b = cast(a, dtype), cast(b, dtype)
    return op["sub"](a, op["mul"](op["quotient"](a, b), b)) if is_whole(dtype) else op["fmod"](a, b)


def compare(name: str) -> Emit:
    def emit(a: Any, b: Any) -> Any:
        dtype = promoted(a, b)
        if dtype == "i1":
            a, b = cast(a, "i64"), cast(b, "i64") if isinstance(b, Sym) else int(b)
        else:
            a, b = cast(a, dtype), cast(b, dtype)
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
    def emit(a: Any, b: Any) -> Any:
        if isinstance(b, bool) and a.dtype == "i1":
            raise UnsupportedError(f"{name} of a mask and the constant {b}")
        return together(op[name], a, b)

    return emit


def where(condition: Any, a: Any, b: Any) -> Any:
    condition = as_truth(condition)
    dtype = promoted(a, b)
    if dtype == "i1":
        return _where_truth(condition, a, b)
    if not isinstance(a, Sym) and not isinstance(b, Sym):
        return cast(condition, dtype) * (a - b) + b
    return op["where"](condition, cast(a, dtype), cast(b, dtype))


def _where_truth(c: Any, a: Any, b: Any) -> Any:
    """(c and a) or (not c and b); a and b may be True or False."""
    left = op["bit_and"](c, a) if isinstance(a, Sym) else c if a else None
    other = op["bit_not"](c)
    right = op["bit_and"](other, b) if isinstance(b, Sym) else other if b else None
    parts = [part for part in (left, right) if part is not None]
    return op["bit_or"](*parts) if len(parts) == 2 else parts[0] if parts else op["bit_and"](c, other)


def clamp(x: Any, low: Any = None, high: Any = None) -> Any:
    """First not below ``low``, then not above ``high``. Gradient 1 on the bounds, as torch has it; NaN wins."""
    given = [bound for bound in (low, high) if bound is not None]
    dtype = promoted(x, *given)
    x = cast(x, dtype)
    for bound, name in ((low, "lt"), (high, "gt")):
        if isinstance(bound, Sym):
            bound = cast(bound, dtype)
            beyond = op[name](x, bound)
            beyond = beyond if is_whole(dtype) else op["bit_or"](beyond, op["ne"](bound, bound))
            x = op["where"](beyond, bound, x)
        elif bound is not None and bound != bound:
            x = x * math.nan
        elif bound is not None and not (is_whole(dtype) and math.isinf(bound)):
            x = op["where"](op[name](x, bound), bound, x)
    return x


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
}
ROOTS: dict[float, Callable[[Any], Any]] = {
    0.5: lambda x: op["sqrt"](x),
    -0.5: lambda x: op["rsqrt"](x),
    -1.0: lambda x: op["reciprocal"](x),
    -2.0: lambda x: op["reciprocal"](x * x),
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
    known = {**PRODUCTS, **ROOTS}
    return known[exponent](a) if exponent in known else op["pow"](a, exponent)


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
    return together(lambda a, b: op["sqrt"](widen(a) * widen(a) + widen(b) * widen(b)), a, b)


def atan2(a: Any, b: Any) -> Any:
    return together(op["atan2"], as_float(a), as_float(b))


def larger_number(name: str) -> Emit:
    """Fmax or fmin: the larger or smaller of two, where a NaN counts for nothing."""

    def emit(a: Any, b: Any) -> Any:
        dtype = promoted(a, b)
        a, b = cast(a, dtype), cast(b, dtype)
        y = binary(name)(a, b)
        if is_whole(dtype):
            return y
        return op["where"](is_nan(a), b, op["where"](is_nan(b), a, y))

    return emit


def copysign(a: Any, b: Any) -> Any:
    """|a| with the sign of b, that of -0 too: only 1 / b tells it."""
    dtype = promoted(a, b)
    a = cast(a, "f32" if is_whole(dtype) else dtype)
    size = op["abs"](a)
    if not isinstance(b, Sym):
        return -size if math.copysign(1.0, b) < 0 else size
    b = as_float(b)
    negative = op["bit_or"](op["lt"](b, 0.0), op["lt"](op["reciprocal"](b), 0.0))
    return op["where"](negative, -size, size)
