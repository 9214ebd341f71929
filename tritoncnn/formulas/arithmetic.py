"""ATen's arithmetic in terms of our ops: sums, products, quotients, rounding, powers.

Operands meet in torch's promoted dtype; whole numbers are computed as such, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tritoncnn.errors import UnsupportedError
from tritoncnn.formulas.dtypes import as_float, as_number, cast, filled, held, is_whole, promoted, together
from tritoncnn.ops import OPS, Sym

Emit = Callable[..., Any]
op = OPS
LOGIC = {
    "add": "bit_or",
    "mul": "bit_and",
    "maximum": "bit_or",
    "minimum": "bit_and",
}  # of truth values  # of truth values


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
