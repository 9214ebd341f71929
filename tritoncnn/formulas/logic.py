"""ATen's comparisons, logic and choices in terms of our ops: where, clamp, bits, tests of what is no number."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

from tritoncnn.errors import UnsupportedError
from tritoncnn.formulas.arithmetic import binary
from tritoncnn.formulas.dtypes import FLOATS, cast, filled, held, is_whole, promoted, together
from tritoncnn.ops import OPS, Sym

Emit = Callable[..., Any]
op = OPS


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


def is_nan(x: Any) -> Any:
    return op["ne"](x, x)


def is_finite(x: Any) -> Any:
    return op["eq"](x, x) if is_whole(x.dtype) else op["lt"](op["abs"](x), math.inf)


def is_inf(x: Any) -> Any:
    return op["ne"](x, x) if is_whole(x.dtype) else op["eq"](op["abs"](x), math.inf)


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
