"""ATen's maxima, sorts and tests of truth in terms of our ops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.formulas.dtypes import as_float, narrow, widen
from tritoncnn.formulas.sample import wrap
from tritoncnn.ops import OPS

op = OPS

Dims = int | Sequence[int] | None
EXACT_COUNT = 2**24  # ones that f32 adds exactly


def _dims(name: str, x: Any, dims: Dims) -> tuple[int, ...]:
    """Ascending, counted from 0; None and () mean all. Raises ShapeError."""
    wanted = [dims] if isinstance(dims, int) else list(dims or range(len(x.shape)))
    return tuple(sorted({wrap(name, len(x.shape), d) for d in wanted}))


def kept(x: Any, y: Any, dims: Sequence[int], keepdim: bool) -> Any:
    """y, reduced over ``dims``, with these as dims of size 1 where they are to be kept, and without them elsewhere."""
    shape = tuple(1 if d in dims else n for d, n in enumerate(x.shape) if keepdim or d not in dims)
    return y if tuple(y.shape) == shape else op["reshape"](y, shape=shape)


def _nonempty(name: str, x: Any, dims: Sequence[int]) -> None:
    if any(x.shape[d] == 0 for d in dims):
        raise ShapeError(f"{name}: x must have at least 1 element along dim {list(dims)}; got {list(x.shape)}")


def _largest(name: str, x: Any, dim: int) -> tuple[Any, Any]:
    """(largest value, the first place that holds it) along a dim, which keeps size 1."""
    _nonempty(name, x, (dim,))
    if x.dtype == "i1":
        raise UnsupportedError(f"{name} of truth values")
    found: tuple[Any, Any] = op["max_taps"](x, dim=dim, size=1, rule="adaptive", first=True)
    return found


def max_dim(x: Any, dim: int, keepdim: bool = False) -> tuple[Any, Any]:
    """The gradient goes to the place that is named, as in torch."""
    if not x.shape:
        y, at = max_dim(op["reshape"](x, shape=(1,)), 0)
        return y, at
    d = wrap("max", len(x.shape), dim)
    y, at = _largest("max", x, d)
    return kept(x, y, (d,), keepdim), kept(x, at, (d,), keepdim)


def min_dim(x: Any, dim: int, keepdim: bool = False) -> tuple[Any, Any]:
    if x.value.type.is_float or not x.shape:
        y, at = max_dim(-x, dim, keepdim)
        return -y, at
    d = wrap("min", len(x.shape), dim)
    _, at = _largest("min", -op["cast_i64"](x), d)  # whose range holds what is negated
    return kept(x, op["take"](x, at, dim=d), (d,), keepdim), kept(x, at, (d,), keepdim)


def _place(name: str, negated: bool) -> Callable[..., Any]:
    def place(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        """The place of the largest (or smallest) element along dim; without one, of the flat tensor."""
        rank = len(x.shape)
        if dim is None:
            flat = op["reshape"](x, shape=(math.prod(x.shape),))
            _, at = (min_dim if negated else max_dim)(flat, 0)
            return op["reshape"](at, shape=(1,) * rank) if keepdim and rank else at
        return (min_dim if negated else max_dim)(x, dim, keepdim)[1]

    place.__name__ = name
    return place


argmax = _place("argmax", False)
argmin = _place("argmin", True)


def amax(x: Any, dims: Dims = (), keepdim: bool = False) -> Any:
    """Equal values share the gradient, as in torch."""
    if not x.shape:
        return x
    wanted = _dims("amax", x, dims)
    _nonempty("amax", x, wanted)
    if x.value.type.is_float:
        return kept(x, op["amax"](x, dims=wanted), wanted, keepdim)
    y = x
    for d in wanted:
        y, _ = _largest("amax", y, d)
    return kept(x, y, wanted, keepdim)


def amin(x: Any, dims: Dims = (), keepdim: bool = False) -> Any:
    if x.value.type.is_float:
        return -amax(-x, dims, keepdim)
    y, wanted = x, _dims("amin", x, dims) if x.shape else ()
    for d in wanted:
        y, _ = min_dim(y, d, keepdim=True)
    return kept(x, y, wanted, keepdim)


def aminmax(x: Any, *, dim: int | None = None, keepdim: bool = False) -> tuple[Any, Any]:
    return amin(x, dim, keepdim), amax(x, dim, keepdim)


def logsumexp(x: Any, dims: Dims, keepdim: bool = False) -> Any:
    """log(sum(exp(x))): nothing overflows, as the largest value is taken out first."""
    z = widen(as_float(x))
    if not z.shape:
        return narrow(z, x)
    wanted = _dims("logsumexp", z, dims)
    if any(z.shape[d] == 0 for d in wanted):  # of nothing: the logarithm of 0
        return narrow(kept(z, op["log"](op["sum"](op["exp"](z), dims=wanted)), wanted, keepdim), x)
    top = op["detach"](amax(z, wanted, keepdim=True))
    top = op["where"](op["eq"](op["abs"](top), math.inf), 0.0, top)  # inf - inf would be NaN
    total = op["sum"](op["exp"](z - top), dims=wanted)
    y = op["log"](total) + kept(z, top, wanted, False)
    return narrow(kept(z, y, wanted, keepdim), x)


# Truth


def _counted(x: Any, dims: Dims, keepdim: bool, name: str, zeros: bool) -> Any:
    """How many elements are not 0 (or are), as f32."""
    found = op["cast_f32"](op["eq"](x, 0.0) if zeros else op["ne"](x, 0.0) if x.dtype != "i1" else x)
    if zeros and x.dtype == "i1":
        found = 1.0 - op["cast_f32"](x)
    if not x.shape:
        return found
    wanted = _dims(name, x, dims)
    return kept(x, op["sum"](found, dims=wanted), wanted, keepdim)


def any_(x: Any, dims: Dims = None, keepdim: bool = False) -> Any:
    return _counted(x, dims, keepdim, "any", False) > 0.0


def all_(x: Any, dims: Dims = None, keepdim: bool = False) -> Any:
    return op["eq"](_counted(x, dims, keepdim, "all", True), 0.0)


def count_nonzero(x: Any, dims: Dims = None) -> Any:
    if math.prod(x.shape) > EXACT_COUNT:
        raise UnsupportedError(f"count_nonzero of more than {EXACT_COUNT} elements")
    return op["cast_i64"](_counted(x, dims, False, "count_nonzero", False))


# Order


def sort(x: Any, dim: int = -1, descending: bool = False) -> tuple[Any, Any]:
    """(values, places). Equal elements keep their order, whether that is asked for or not."""
    if not x.shape:
        return x, argsort(x)
    d = wrap("sort", len(x.shape), dim)
    at = op["argsort"](x, dim=d, size=x.shape[d], descending=descending)
    return op["take"](x, at, dim=d), at


def stable_sort(x: Any, *, stable: bool | None = True, dim: int = -1, descending: bool = False) -> tuple[Any, Any]:
    return sort(x, dim, descending)


def argsort(x: Any, dim: int = -1, descending: bool = False) -> Any:
    if not x.shape:
        return op["reshape"](argsort(op["reshape"](x, shape=(1,))), shape=())
    d = wrap("argsort", len(x.shape), dim)
    return op["argsort"](x, dim=d, size=x.shape[d], descending=descending)


def stable_argsort(x: Any, *, stable: bool, dim: int = -1, descending: bool = False) -> Any:
    return argsort(x, dim, descending)


def msort(x: Any) -> Any:
    return sort(x, 0)[0]


def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Any, Any]:
    """The k largest (or smallest) elements, in order, and their places."""
    d = wrap("topk", len(x.shape), dim)
    if not x.shape:
        return x, argsort(x)
    if not 0 <= k <= x.shape[d]:
        raise ShapeError(f"topk: k must lie in 0..{x.shape[d]} for dim {dim} of x {list(x.shape)}; got {k}")
    at = op["argsort"](x, dim=d, size=k, descending=largest)
    return op["take"](x, at, dim=d), at


def kthvalue(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Any, Any]:
    """The k-th smallest element along dim, counted from 1, and its place."""
    if not x.shape:
        return x, argsort(x)
    d = wrap("kthvalue", len(x.shape), dim)
    if not 1 <= k <= x.shape[d]:
        raise ShapeError(f"kthvalue: k must lie in 1..{x.shape[d]} for dim {dim} of x {list(x.shape)}; got {k}")
    at = op["narrow"](op["argsort"](x, dim=d, size=k), dim=d, start=k - 1, size=1)
    return kept(x, op["take"](x, at, dim=d), (d,), keepdim), kept(x, at, (d,), keepdim)


def median(x: Any, dim: int, keepdim: bool = False) -> tuple[Any, Any]:
    """The lower of two middle elements along dim, and its place; the first NaN where there is one."""
    if not x.shape:
        return x, argsort(x)
    d = wrap("median", len(x.shape), dim)
    top, first = _largest("median", x, d)
    _, at = kthvalue(x, (x.shape[d] + 1) // 2, d, keepdim=True)
    at = op["where"](op["ne"](top, top), first, at)
    return kept(x, op["take"](x, at, dim=d), (d,), keepdim), kept(x, at, (d,), keepdim)


def nanmedian(x: Any, dim: int, keepdim: bool = False) -> tuple[Any, Any]:
    """The lower of two middle elements of those that are no NaN, and its place; NaN where there is none."""
    if not x.value.type.is_float or not x.shape:
        return median(x, dim, keepdim)
    d = wrap("nanmedian", len(x.shape), dim)
    _nonempty("nanmedian", x, (d,))
    count = op["cast_i64"](op["sum"](op["cast_f32"](op["eq"](x, x)), dims=(d,)))
    middle = op["maximum"](op["quotient"](op["sub"](count, 1), 2), 0)
    middle = op["reshape"](middle, shape=(*x.shape[:d], 1, *x.shape[d + 1 :]))
    at = op["take"](op["argsort"](x, dim=d, size=x.shape[d]), middle, dim=d)  # NaN stands behind all others
    return kept(x, op["take"](x, at, dim=d), (d,), keepdim), kept(x, at, (d,), keepdim)


def _of_all(name: str, along_dim: Callable[..., tuple[Any, Any]]) -> Callable[..., Any]:
    def of_all(x: Any) -> Any:
        """The lower of two middle elements of all; elements that equal it share the gradient, as in torch."""
        flat = op["reshape"](x, shape=(math.prod(x.shape),))
        if not flat.shape[0]:
            raise UnsupportedError(f"{name} of nothing")
        y, _ = along_dim(flat, 0)
        if not x.value.type.is_float:
            return y
        z = widen(flat)
        value = op["detach"](widen(y))
        both_nan = op["bit_and"](op["ne"](z, z), op["ne"](value, value))
        equal = op["cast_f32"](op["bit_or"](op["eq"](z, value), both_nan))
        shared = op["where"](equal > 0.0, z, 0.0)
        return narrow(op["straight_through"](value, op["sum"](shared, dims=(0,)) / op["sum"](equal, dims=(0,))), x)

    return of_all


median_of_all = _of_all("median", median)
nanmedian_of_all = _of_all("nanmedian", nanmedian)
