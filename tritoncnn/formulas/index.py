"""ATen ops that pick, split and join in terms of ours: slices, concatenation, gather, embedding, one-hot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.formulas.dtypes import cast, promoted
from tritoncnn.formulas.sample import along, wrap
from tritoncnn.ops import OPS
from tritoncnn.ops.define import broadcast_shape
from tritoncnn.ops.table import table_for

op = OPS


def concat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors meet in torch's promoted dtype. Empty vectors join anything but for that, as in torch."""
    full = [x for x in tensors if x.shape != (0,)] or list(tensors)[:1]
    if not full:
        raise ShapeError("cat: it takes at least one tensor; got none")
    dim, first = wrap("cat", len(full[0].shape), dim), list(full[0].shape)
    for i, x in enumerate(tensors):
        other = list(x.shape)
        if other != [0] and (
            len(other) != len(first) or other[:dim] + other[dim + 1 :] != first[:dim] + first[dim + 1 :]
        ):
            raise ShapeError(f"cat: tensors[{i}] must be {first}, as the first is, but along dim {dim}; got {other}")
    dtype = promoted(*tensors)
    full = [cast(x, dtype) for x in full]
    return full[0] if len(full) == 1 else op["concat"](*full, dim=dim)


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    if not tensors or any(x.shape != tensors[0].shape for x in tensors):
        raise ShapeError(f"stack: it takes tensors of one shape; got {[list(x.shape) for x in tensors]}")
    dim = wrap("stack", len(tensors[0].shape) + 1, dim)
    return concat([unsqueeze(x, dim) for x in tensors], dim)


def unsqueeze(x: Any, dim: int) -> Any:
    return op["reshape"](x, shape=(*x.shape[:dim], 1, *x.shape[dim:]))


def narrow(x: Any, dim: int, start: int, length: int) -> Any:
    dim = wrap("narrow", len(x.shape), dim)
    n = x.shape[dim]
    start = start + n if start < 0 else start
    return x if (start, length) == (0, n) else op["narrow"](x, dim=dim, start=start, size=length)


def slice_(x: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    """x[start:end:step] along dim; bounds beyond the ends are cut off."""
    dim = wrap("slice", len(x.shape), dim)
    if step < 1:
        raise ShapeError(f"slice: step must be at least 1; got {step}")
    first, last, _ = slice(start, end).indices(x.shape[dim])
    size = max(-(-(last - first) // step), 0)
    if size == x.shape[dim] and step == 1:
        return x
    return op["narrow"](x, dim=dim, start=first if size else 0, size=size, step=step)


def select(x: Any, dim: int, index: int) -> Any:
    dim = wrap("select", len(x.shape), dim)
    n = x.shape[dim]
    if not -n <= index < n:
        raise ShapeError(f"select: index must be in [{-n}, {n - 1}] for dim {dim} of {list(x.shape)}; got {index}")
    y = op["narrow"](x, dim=dim, start=index % n, size=1)
    return op["reshape"](y, shape=(*x.shape[:dim], *x.shape[dim + 1 :]))


def unbind(x: Any, dim: int = 0) -> tuple[Any, ...]:
    return tuple(select(x, dim, i) for i in range(x.shape[dim]))


def copied(x: Any, source: Any) -> Any:
    """``source`` with the shape and dtype of x."""
    source = cast(source, x.dtype)
    return source if source.shape == x.shape else op["expand"](source, shape=tuple(x.shape))


def slice_scatter(
    x: Any, source: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    """x with x[start:end:step] along dim replaced."""
    dim = wrap("slice_scatter", len(x.shape), dim)
    n = x.shape[dim]
    places = range(*slice(start, end, step).indices(n))
    source = cast(source, x.dtype)
    wanted = (*x.shape[:dim], len(places), *x.shape[dim + 1 :])
    source = source if source.shape == wanted else op["expand"](source, shape=wanted)
    if len(places) in (0, n):
        return source if len(places) else x
    if step == 1:
        before, after = narrow(x, dim, 0, places[0]), narrow(x, dim, places[-1] + 1, n - 1 - places[-1])
        return concat([part for part in (before, source, after) if part.shape[dim]], dim)
    inside = [p in places for p in range(n)]
    index = [places.index(p) if p in places else 0 for p in range(n)]
    shape = along(len(x.shape), dim, n)
    spread = op["take"](source, table_for(x, index, shape, "i64"), dim=dim)
    return op["where"](table_for(x, [int(hit) for hit in inside], shape, "i1"), spread, x)


def select_scatter(x: Any, source: Any, dim: int, index: int) -> Any:
    """x with x[index] along dim replaced."""
    dim = wrap("select_scatter", len(x.shape), dim)
    at = index % x.shape[dim]
    return slice_scatter(x, unsqueeze(source, dim), dim, at, at + 1)


def split_with_sizes(x: Any, sizes: Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    dim = wrap("split", len(x.shape), dim)
    if sum(sizes) != x.shape[dim] or min(sizes, default=0) < 0:
        raise ShapeError(f"split: sizes must add up to the {x.shape[dim]} of dim {dim}; got {list(sizes)}")
    return tuple(narrow(x, dim, sum(sizes[:i]), size) for i, size in enumerate(sizes))


def split(x: Any, size: int | Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    if not isinstance(size, int):
        return split_with_sizes(x, size, dim)
    n = x.shape[wrap("split", len(x.shape), dim)]
    if size < 0 or (size == 0 and n):
        raise ShapeError(f"split: the size of a part must be at least 1; got {size}")
    return split_with_sizes(x, [min(size, n - i) for i in range(0, n, size or 1)] or [0], dim)


def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most so many parts, all of one size but the last."""
    if chunks < 1:
        raise ShapeError(f"chunk: chunks must be at least 1; got {chunks}")
    n = x.shape[wrap("chunk", len(x.shape), dim)]
    return split_with_sizes(x, [0] * chunks, dim) if n == 0 else split(x, -(-n // chunks), dim)


def repeat(x: Any, times: Sequence[int]) -> Any:
    """Each dim so many times; more numbers than dims add dims in front."""
    if len(times) < len(x.shape) or min(times, default=0) < 0:
        raise ShapeError(f"repeat: {list(x.shape)} takes at least {len(x.shape)} numbers from 0; got {list(times)}")
    shape = (1,) * (len(times) - len(x.shape)) + tuple(x.shape)
    apart = tuple(n for pair in zip((1,) * len(shape), shape, strict=True) for n in pair)
    wanted = tuple(n for pair in zip(times, shape, strict=True) for n in pair)
    y = op["expand"](op["reshape"](x, shape=apart), shape=wanted) if wanted != apart else op["reshape"](x, shape=apart)
    return op["reshape"](y, shape=tuple(t * n for t, n in zip(times, shape, strict=True)))


def in_range(what: str, index: Any, n: int, negative: bool = False) -> Any:
    """``index``, which must hold places along a dim of n, from the end too where ``negative``."""
    return op["within"](index, what=what, low=-n if negative else 0, high=n)


def gather(x: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """y[.., j, ..] = x[.., index[.., j, ..], ..]; the index may be smaller than x in the other dims. NaN outside x."""
    dim, shape = wrap("gather", len(x.shape), dim), tuple(index.shape)
    if not math.prod(shape):  # of any rank
        return op["reshape"](narrow(op["reshape"](x, shape=(math.prod(x.shape),)), 0, 0, 0), shape=shape)
    if not x.shape:
        x, index = op["reshape"](x, shape=(1,)), op["reshape"](index, shape=(math.prod(shape),))
    too_large = [d for d, (n, m) in enumerate(zip(index.shape, x.shape, strict=False)) if d != dim and n > m]
    if len(index.shape) != len(x.shape) or too_large:
        raise ShapeError(f"gather: index must fit into x {list(x.shape)} but along dim {dim}; got {list(index.shape)}")
    index = in_range("gather", index, x.shape[dim])
    for d, n in enumerate(index.shape):
        x = x if d == dim else narrow(x, d, 0, n)
    y = op["take"](x, index, dim=dim, strict=True)
    return y if tuple(y.shape) == shape else op["reshape"](y, shape=shape)


def index_select(x: Any, dim: int, index: Any) -> Any:
    dim = wrap("index_select", len(x.shape), dim)
    if len(index.shape) > 1:
        raise ShapeError(f"index_select: index must be a vector; got {list(index.shape)}")
    if not x.shape:
        return op["reshape"](index_select(op["reshape"](x, shape=(1,)), 0, index), shape=())
    return _lines(x, dim, in_range("index_select", index, x.shape[dim]))


def _lines(x: Any, dim: int, index: Any) -> Any:
    """The slices along dim whose numbers a vector holds."""
    count = math.prod(index.shape)
    along = op["reshape"](index, shape=tuple(count if d == dim else 1 for d in range(len(x.shape))))
    return op["take"](x, along, dim=dim, strict=True)


class Picked(NamedTuple):
    """How x[.., i, j, ..] picks: the dims that are indexed, side by side in ``order``, are taken as one.

    order   x's dims, permuted so
    lead    sizes of the dims before the indexed ones; they come first where the indexed dims are side by side already
    sizes   of the indexed dims
    tail    of the dims after them
    places  shape that the index tensors broadcast to
    index   of that shape: the number of the place, counted over ``sizes`` row by row
    """

    order: tuple[int, ...]
    lead: tuple[int, ...]
    sizes: tuple[int, ...]
    tail: tuple[int, ...]
    places: tuple[int, ...]
    index: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is picked."""
        return (*self.lead, *self.places, *self.tail)


def from_the_end(index: Any, n: int) -> Any:
    """Places counted from 0: a negative one counts from the end."""
    size, zero = (table_for(index, (number,), (), index.dtype) for number in (n, 0))
    return op["where"](op["lt"](index, zero), op["add"](index, size), index)


def _row_by_row(indices: Sequence[Any], sizes: Sequence[int]) -> Any:
    """The number of the place at ``indices``, one per dim, counted row by row; -1 where one of them is outside."""
    whole = [index if index.dtype == "i64" else op["cast_i64"](index) for index in indices]
    whole = [from_the_end(index, n) for index, n in zip(whole, sizes, strict=True)]
    zero, none = (table_for(whole[0], (number,), (), "i64") for number in (0, -1))
    steps = [table_for(whole[0], (n,), (), "i64") for n in sizes]
    number = whole[0]
    for index, n in zip(whole[1:], steps[1:], strict=True):
        number = number * n + index
    for index, n in zip(whole, steps, strict=True):
        number = op["where"](op["lt"](index, zero), none, op["where"](op["lt"](index, n), number, none))
    return number


def picked_dims(name: str, x: Any, indices: Sequence[Any]) -> Picked:
    """Raises UnsupportedError for a mask, ShapeError for more tensors than dims."""
    given = [d for d, index in enumerate(indices) if index is not None]
    if any(indices[d].dtype == "i1" for d in given):
        raise UnsupportedError(f"{name} with a mask: how much it picks depends on data; use torch.where or a product")
    if not given or len(indices) > len(x.shape):
        raise ShapeError(
            f"{name}: x {list(x.shape)} takes index tensors for 1 to {len(x.shape)} dims; got {len(indices)}"
        )
    together = given == list(range(given[0], given[-1] + 1))
    first = given[0] if together else 0
    others = [d for d in range(len(x.shape)) if d not in given]
    order = (*others[:first], *given, *others[first:])
    shape = broadcast_shape(*(tuple(indices[d].shape) for d in given))
    sizes = tuple(x.shape[d] for d in given)
    legal = [in_range(name, indices[d], x.shape[d], negative=True) for d in given]
    number = from_the_end(legal[0], sizes[0]) if len(given) == 1 else _row_by_row(legal, sizes)
    lead, tail = (tuple(x.shape[d] for d in dims) for dims in (others[:first], others[first:]))
    return Picked(order, lead, sizes, tail, shape, number)


def index_tensor(x: Any, indices: Sequence[Any]) -> Any:
    """x[:, i, j]: tensors of whole numbers, which broadcast; from the end where they are negative."""
    picked = picked_dims("indexing", x, indices)
    x = op["permute"](x, dims=picked.order) if picked.order != tuple(range(len(x.shape))) else x
    x = op["reshape"](x, shape=(*picked.lead, math.prod(picked.sizes), *picked.tail))
    index = op["expand"](picked.index, shape=picked.places) if picked.index.shape != picked.places else picked.index
    y = _lines(x, len(picked.lead), op["reshape"](index, shape=(math.prod(picked.places),)))
    return op["reshape"](y, shape=picked.shape)


def take_along_dim(x: Any, index: Any, dim: int | None = None) -> Any:
    """gather, but x and index broadcast; without a dim, of the flat tensor."""
    if dim is None:
        flat, index = (op["reshape"](t, shape=(math.prod(t.shape),)) for t in (x, index))
        return op["take"](flat, in_range("take_along_dim", index, flat.shape[0]), dim=0, strict=True)
    dim = wrap("take_along_dim", len(x.shape), dim)
    if len(index.shape) != len(x.shape):
        raise ShapeError(f"take_along_dim: index must have the dims of x {list(x.shape)}; got {list(index.shape)}")
    count = max(x.shape[dim], 1)
    around = op["fmod"](
        index, table_for(index, (count,), (), index.dtype)
    )  # torch counts on from the start behind the end
    return op["take"](x, from_the_end(around, count), dim=dim, strict=True)


def take_flat(x: Any, index: Any) -> Any:
    """Elements of the flat tensor, in the shape of the index."""
    flat = op["reshape"](x, shape=(math.prod(x.shape),))
    index = in_range("take", index, flat.shape[0], negative=True)
    line = op["reshape"](from_the_end(index, flat.shape[0]), shape=(math.prod(index.shape),))
    return op["reshape"](op["take"](flat, line, dim=0, strict=True), shape=tuple(index.shape))


def embedding(w: Any, index: Any, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False) -> Any:
    """Rows of w [V, E]; row ``padding_idx`` (-1: none) gets no gradient.

    ``scale_grad_by_freq``: the gradient of each row is divided by how often the index names it.
    """
    if len(w.shape) != 2:
        raise ShapeError(f"embedding: weight must be [V, E]; got {list(w.shape)}")
    index = in_range("embedding", index, w.shape[0])
    rows = op["reshape"](index, shape=(math.prod(index.shape), 1))
    found = op["take"](w, rows, dim=0, skip=padding_idx, strict=True)
    if scale_grad_by_freq:
        ones = op["expand"](table_for(w, (1,), (), "f32"), shape=tuple(rows.shape))
        times = op["take"](op["put"](ones, rows, dim=0, size=w.shape[0]), rows, dim=0)
        found = op["straight_through"](found, cast(cast(found, "f32") / times, w.dtype))
    return op["reshape"](found, shape=(*index.shape, w.shape[1]))


def one_hot(index: Any, num_classes: int = -1) -> Any:
    """i64 [..., num_classes], 1 at the index."""
    if num_classes < 1:
        raise UnsupportedError(f"one_hot with num_classes {num_classes}: it must be given, as shapes are fixed")
    index = in_range("one_hot", index, num_classes)
    classes = table_for(index, range(num_classes), (num_classes,), "i64")
    one, zero = (table_for(index, (number,), (), "i64") for number in (1, 0))
    return op["where"](op["eq"](unsqueeze(index, len(index.shape)), classes), one, zero)
