"""ATen's writes at places that an index names in terms of our ops: scatter, index_add, index_put, masks.

What is written is put into zeros first, entry after entry in a fixed order, and then joined with what was there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.formulas.dtypes import cast, widen
from tritoncnn.formulas.dtypes import narrow as narrowed
from tritoncnn.formulas.index import from_the_end, in_range, narrow, picked_dims
from tritoncnn.formulas.sample import along, wrap
from tritoncnn.ops import OPS, TORCH_DTYPE
from tritoncnn.ops.define import broadcast_shape
from tritoncnn.ops.table import table_for

op = OPS


def _number(like: Any, number: float, shape: Sequence[int]) -> Any:
    """A tensor of one number, of the dtype of ``like``."""
    return op["expand"](table_for(like, (number,), (), like.dtype), shape=tuple(shape))


def _spread(x: Any, entries: Any, index: Any, dim: int, add: bool) -> Any:
    """Zeros of x's shape with the entries at their places along dim; index may be smaller than x along the other dims."""
    y = op["put"](entries, index, dim=dim, size=x.shape[dim], add=add)
    for d, n in enumerate(x.shape):
        if y.shape[d] != n:
            y = op["resample"](y, dim=d, size=n, rule="zero", numbers=(0,))
    return y


def _hit(x: Any, index: Any, dim: int, shape: Sequence[int]) -> Any:
    """Where x gets an entry, as truth values."""
    ones = op["expand"](table_for(x, (1,), (), "i1"), shape=tuple(shape))
    return _spread(x, ones, index, dim, False)


def _scattered(name: str, x: Any, dim: int, index: Any, source: Any) -> tuple[int, Any, Any]:
    """(dim counted from 0, index, the entries that it has a place for). Raises ShapeError."""
    dim = wrap(name, len(x.shape), dim)
    other = [d for d, (n, m) in enumerate(zip(index.shape, x.shape, strict=False)) if d != dim and n > m]
    if len(index.shape) != len(x.shape) or other:
        raise ShapeError(f"{name}: index must fit into x {list(x.shape)} but along dim {dim}; got {list(index.shape)}")
    if len(source.shape) != len(x.shape) or any(n > m for n, m in zip(index.shape, source.shape, strict=True)):
        raise ShapeError(f"{name}: index must fit into src {list(source.shape)}; got {list(index.shape)}")
    for d, n in enumerate(index.shape):
        source = narrow(source, d, 0, n)
    return dim, in_range(name, index, x.shape[dim]), source


def _lifted(*tensors: Any) -> tuple[Any, ...]:
    """Tensors without dims as vectors of one element."""
    return tuple(x if x.shape else op["reshape"](x, shape=(1,)) for x in tensors)


def scatter_add(x: Any, dim: int, index: Any, source: Any) -> Any:
    shape = tuple(x.shape)
    x, index, source = _lifted(x, index, source)
    dim, index, source = _scattered("scatter_add", x, dim, index, source)
    return op["reshape"](op["add"](x, _spread(x, source, index, dim, True)), shape=shape)


def scatter(x: Any, dim: int, index: Any, source: Any) -> Any:
    """The last of several entries for one place stays; each gets the gradient, as in torch."""
    shape = tuple(x.shape)
    x, index, source = _lifted(x, index, source)
    dim, index, source = _scattered("scatter", x, dim, index, source)
    y = op["where"](_hit(x, index, dim, source.shape), _spread(x, source, index, dim, False), x)
    return op["reshape"](y, shape=shape)


def scatter_joined(x: Any, dim: int, index: Any, source: Any, *, reduce: str) -> Any:
    """Scatter with ``reduce``, an old name for scatter_add and products; without a gradient, as in torch."""
    x, source = op["detach"](x), op["detach"](source)
    if reduce == "multiply":
        return scatter_reduce(x, dim, index, source, "prod")
    if reduce != "add":
        raise UnsupportedError(f"scatter with reduce={reduce!r}; 'add' and 'multiply' are known")
    return scatter_add(x, dim, index, source)


def scatter_joined_value(x: Any, dim: int, index: Any, value: float, *, reduce: str) -> Any:
    return scatter_joined(x, dim, index, _number(x, value, index.shape), reduce=reduce)


def scatter_value(x: Any, dim: int, index: Any, value: float) -> Any:
    shape = tuple(x.shape)
    x, index = _lifted(x, index)
    dim, index, source = _scattered("scatter", x, dim, index, _number(x, value, index.shape))
    y = op["where"](_hit(x, index, dim, source.shape), table_for(x, (value,), (), x.dtype), x)
    return op["reshape"](y, shape=shape)


def scatter_reduce(x: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True) -> Any:
    """Sum, mean, product, largest or smallest of what comes to each place, with what is there or without it."""
    combine, shape = _combining("scatter_reduce", x, reduce, include_self), tuple(x.shape)
    x, index, source = _lifted(x, index, source)
    dim, index, source = _scattered("scatter_reduce", x, dim, index, source)
    return op["reshape"](combine(x, source, index, dim, include_self), shape=shape)


def index_reduce(x: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True) -> Any:
    """As scatter_reduce, of slices that a vector of places names."""
    combine, shape = _combining("index_reduce", x, reduce, include_self), tuple(x.shape)
    x, source = _lifted(x, source)
    dim, index = _line("index_reduce", x, dim, index, source)
    return op["reshape"](combine(x, source, index, dim, include_self), shape=shape)


def _combining(name: str, x: Any, reduce: str, include_self: bool) -> Callable[..., Any]:
    """What joins entries that meet. Raises UnsupportedError."""
    known = {"sum": _added, "mean": _averaged, "prod": _multiplied, "amax": _largest, "amin": _smallest}
    if reduce not in known:
        raise UnsupportedError(f"{name} with {reduce!r}; {', '.join(known)} are known")
    if not x.value.type.is_float and (reduce == "mean" or not include_self):
        raise UnsupportedError(f"{name} with {reduce!r} of whole numbers, or without what is there")
    return known[reduce]


def _added(x: Any, source: Any, index: Any, dim: int, include_self: bool) -> Any:
    y = _spread(x, source, index, dim, True)
    return op["add"](x, y) if include_self else op["where"](_hit(x, index, dim, source.shape), y, x)


def _averaged(x: Any, source: Any, index: Any, dim: int, include_self: bool) -> Any:
    total = _spread(x, source, index, dim, True)
    count = _spread(x, _number(x, 1, source.shape), index, dim, True)
    if include_self:
        return (x + total) / (count + 1.0)
    none = op["eq"](count, 0.0)
    return op["where"](none, x, total / op["where"](none, 1.0, count))


def _largest(x: Any, source: Any, index: Any, dim: int, include_self: bool) -> Any:
    return _joined("put_max", -math.inf, x, source, index, dim, include_self)


def _multiplied(x: Any, source: Any, index: Any, dim: int, include_self: bool) -> Any:
    """Of 16-bit numbers in f32."""
    if not x.value.type.is_float:
        return _joined("put_prod", 1, x, source, index, dim, include_self)
    return narrowed(_joined("put_prod", 1.0, widen(x), widen(source), index, dim, include_self), x)


def _joined(put: str, empty: float, x: Any, source: Any, index: Any, dim: int, include_self: bool) -> Any:
    """Where the index is smaller than x along other dims, the rest of x stays and is joined on behind."""
    base = x if include_self else op["where"](_hit(x, index, dim, source.shape), empty, x)
    corner = base
    for d, n in enumerate(source.shape):
        corner = corner if d == dim else narrow(corner, d, 0, n)
    y = op[put](source, index, corner, dim=dim)
    for d in range(len(x.shape)):
        n = y.shape[d]
        if n != x.shape[d]:
            rest = narrow(base, d, n, x.shape[d] - n)
            for e in range(d + 1, len(x.shape)):
                rest = narrow(rest, e, 0, y.shape[e])
            y = op["concat"](y, rest, dim=d)
    return y


def _smallest(x: Any, source: Any, index: Any, dim: int, include_self: bool) -> Any:
    return -_largest(-x, -source, index, dim, include_self)


def _line(name: str, x: Any, dim: int, index: Any, source: Any) -> tuple[int, Any]:
    """(dim counted from 0, index along it) for a source whose slices go to the places of an index vector."""
    dim = wrap(name, len(x.shape), dim)
    n = math.prod(index.shape)
    wanted = (*x.shape[:dim], n, *x.shape[dim + 1 :])
    if len(index.shape) > 1 or (source is not None and tuple(source.shape) != wanted):
        got = f"index {list(index.shape)}" + ("" if source is None else f" and source {list(source.shape)}")
        raise ShapeError(f"{name}: index must be a vector and source {list(wanted)} for x {list(x.shape)}; got {got}")
    count = x.shape[dim] if x.shape else 1
    if name == "index_fill":  # the one of them that torch lets count from the end
        index = from_the_end(in_range(name, index, count, negative=True), count)
    else:
        index = in_range(name, index, count)
    return dim, op["reshape"](index, shape=along(len(x.shape), dim, n))


def index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    shape = tuple(x.shape)
    x, source = _lifted(x, source)
    dim, index = _line("index_add", x, dim, index, source)
    y = op["add"](x, _spread(x, source if alpha == 1 else source * float(alpha), index, dim, True))
    return op["reshape"](y, shape=shape)


def index_copy(x: Any, dim: int, index: Any, source: Any) -> Any:
    shape = tuple(x.shape)
    x, source = _lifted(x, source)
    dim, index = _line("index_copy", x, dim, index, source)
    return op["reshape"](op["overwrite"](x, source, index, dim=dim), shape=shape)


def index_fill(x: Any, dim: int, index: Any, value: Any) -> Any:
    n, shape = math.prod(index.shape), tuple(x.shape)
    (x,) = _lifted(x)
    dim, index = _line("index_fill", x, dim, index, None)
    hit = _hit(x, index, dim, (*x.shape[:dim], n, *x.shape[dim + 1 :]))
    return op["reshape"](op["where"](hit, _value(x, value), x), shape=shape)


def _value(x: Any, value: Any) -> Any:
    """A number, or a tensor of one, in the dtype of x."""
    if isinstance(value, (bool, int, float)):
        return table_for(x, (torch.tensor(value).to(TORCH_DTYPE[x.dtype]).item(),), (), x.dtype)
    return cast(value, x.dtype)


def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    y = op["where"](mask, _value(x, value), x)
    if tuple(y.shape) != broadcast_shape(tuple(x.shape), tuple(mask.shape)):
        raise ShapeError(f"masked_fill: value must have no dims; got {list(value.shape)}")
    return y


def index_put(x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    """x[indices] = values, or += with ``accumulate``; of several entries for one place the last stays."""
    given = [index for index in indices if index is not None]
    if any(index.dtype == "i1" for index in given):
        return _masked_put(x, indices, values, accumulate)
    picked = picked_dims("index_put", x, indices)
    back = tuple(picked.order.index(d) for d in range(len(x.shape)))
    turned = op["permute"](x, dims=picked.order)
    lines = op["reshape"](turned, shape=(math.prod(picked.lead), math.prod(picked.sizes), math.prod(picked.tail)))
    entries = op["expand"](values, shape=picked.shape)
    count = math.prod(picked.places)
    entries = op["reshape"](entries, shape=(math.prod(picked.lead), count, math.prod(picked.tail)))
    index = op["reshape"](op["expand"](picked.index, shape=picked.places), shape=(1, count, 1))
    if accumulate:
        lines = op["add"](lines, _spread(lines, entries, index, 1, True))
    else:
        lines = op["where"](_hit(lines, index, 1, entries.shape), _spread(lines, entries, index, 1, False), lines)
    return op["permute"](op["reshape"](lines, shape=tuple(turned.shape)), dims=back)


def _masked_put(x: Any, indices: Sequence[Any], values: Any, accumulate: bool) -> Any:
    """One mask over the first dims and one number: nothing depends on how many places there are."""
    if len(indices) != 1 or math.prod(values.shape) != 1:
        raise UnsupportedError("writing several values where a mask holds: how many depends on data; use torch.where")
    (mask,) = indices
    if tuple(mask.shape) != tuple(x.shape[: len(mask.shape)]):
        raise ShapeError(f"index_put: mask must be {list(x.shape[: len(mask.shape)])}; got {list(mask.shape)}")
    where = op["reshape"](mask, shape=(*mask.shape, *(1,) * (len(x.shape) - len(mask.shape))))
    value = op["reshape"](values, shape=())
    return op["where"](where, op["add"](x, value) if accumulate else value, x)
