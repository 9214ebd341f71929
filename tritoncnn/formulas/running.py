"""ATen's running sums, products and maxima along a dim, and products of all, in terms of our ops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tritoncnn.errors import UnsupportedError
from tritoncnn.formulas.dtypes import FLOATS, cast, filled, result_dtype
from tritoncnn.formulas.order import kept
from tritoncnn.formulas.sample import along, wrap
from tritoncnn.ops import OPS
from tritoncnn.ops.table import table_for

op = OPS


def _as_asked(name: str, x: Any, dtype: Any) -> Any:
    """x in the option ``dtype``, where there is one. Raises UnsupportedError for whole numbers."""
    wanted = result_dtype(dtype)
    if wanted is not None and wanted not in FLOATS:
        raise UnsupportedError(f"{name} with dtype {wanted}; cast its operand")
    return x if wanted is None else cast(x, wanted)


def _scanned(name: str, kind: str) -> Callable[..., Any]:
    def scanned(x: Any, dim: int, *, dtype: Any = None) -> Any:
        d = wrap(name, len(x.shape), dim)
        x = _as_asked(name, x, dtype)
        if not x.shape:
            return op["reshape"](scanned(op["reshape"](x, shape=(1,)), 0), shape=())
        return op["scan"](x, dim=d, kind=kind)

    return scanned


cumsum = _scanned("cumsum", "sum")
cumprod = _scanned("cumprod", "prod")


def _running_extreme(name: str, negated: bool) -> Callable[..., tuple[Any, Any]]:
    """Cummax or cummin: the largest (smallest) so far and its place, the last of equals; the gradient goes there."""

    def extreme(x: Any, dim: int) -> tuple[Any, Any]:
        d = wrap(name, len(x.shape), dim)
        if not x.shape:
            y, at = extreme(op["reshape"](x, shape=(1,)), 0)
            return op["reshape"](y, shape=()), op["reshape"](at, shape=())
        z = op["detach"](x) if x.value.type.is_float else cast(x, "i64")  # whose range holds what is negated
        z = -z if negated else z
        best = op["scan"](z, dim=d, kind="max")
        places = table_for(x, tuple(range(x.shape[d])), along(len(x.shape), d, x.shape[d]), "i64")
        holds = op["eq"](z, best)
        if x.value.type.is_float:
            holds = op["bit_or"](holds, op["ne"](z, z))
        at = op["scan"](op["where"](holds, places, filled(z, 0, "i64")), dim=d, kind="max")
        return op["take"](x, at, dim=d), at

    return extreme


cummax = _running_extreme("cummax", False)
cummin = _running_extreme("cummin", True)


def logcumsumexp(x: Any, dim: int) -> Any:
    if not x.shape:
        return x
    return op["scan"](x, dim=wrap("logcumsumexp", len(x.shape), dim), kind="logsumexp")


def prod(x: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Of all elements when dim is None."""
    x = _as_asked("prod", x, dtype)
    if dim is None:
        return op["prod"](op["reshape"](x, shape=(math.prod(x.shape),)), dim=0)
    d = wrap("prod", len(x.shape), dim)
    return kept(x, op["prod"](x, dim=d), (d,), keepdim) if x.shape else x
