"""ATen's embedding_bag in terms of our ops: rows of a table, joined bag by bag."""

from __future__ import annotations

from typing import Any

from tritoncnn.errors import ShapeError
from tritoncnn.formulas.dtypes import cast
from tritoncnn.formulas.index import embedding, narrow
from tritoncnn.formulas.refused import Refused
from tritoncnn.formulas.scatter import index_add, index_reduce
from tritoncnn.formulas.searching import searchsorted
from tritoncnn.ops import OPS
from tritoncnn.ops.table import table_for

op = OPS
MODES = ("sum", "mean", "max")


def embedding_bag(
    w: Any, index: Any, offsets: Any, scale_grad_by_freq: bool = False, mode: int = 0, sparse: bool = False,
    per_sample_weights: Any = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> tuple[Any, ...]:  # fmt: skip
    """Sums, means or maxima [B, E] of the rows of w [V, E] that index [L] names; bag b begins at ``offsets[b]``.

    The row ``padding_idx``, where given, counts nowhere. An empty bag gives zeros. Raises ShapeError, UnsupportedError.
    """
    if len(index.shape) != 1 or len(offsets.shape) != 1:
        raise ShapeError(
            f"embedding_bag: index and offsets must be vectors; got {list(index.shape)}, {list(offsets.shape)}"
        )
    if include_last_offset:
        offsets = narrow(offsets, 0, 0, offsets.shape[0] - 1)
    (L,), (B,) = index.shape, offsets.shape
    rows = embedding(w, index, scale_grad_by_freq=scale_grad_by_freq)
    if per_sample_weights is not None:
        rows = rows * op["reshape"](per_sample_weights, shape=(L, 1))
    bag = _bags(cast(offsets, "i64"), L)
    if padding_idx is not None:
        outside = op["eq"](cast(index, "i64"), padding_idx % w.shape[0])
        bag = op["where"](outside, table_for(bag, (B,), (), "i64"), bag)  # one bag more, which nobody reads
    zeros = op["expand"](table_for(w, (0,), (), w.dtype), shape=(B + 1, w.shape[1]))
    if MODES[mode] == "sum":
        y = index_add(zeros, 0, bag, rows)
    else:
        y = index_reduce(zeros, 0, bag, rows, {"mean": "mean", "max": "amax"}[MODES[mode]], include_self=False)
    return narrow(y, 0, 0, B), *(Refused(f"result {i} of embedding_bag") for i in (1, 2, 3))


def _bags(offsets: Any, L: int) -> Any:
    """The bag [L] of each place: how many bags begin at it or before, less one."""
    return searchsorted(offsets, table_for(offsets, range(L), (L,), "i64"), right=True) - 1
