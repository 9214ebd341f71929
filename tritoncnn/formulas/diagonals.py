"""ATen's ops on diagonals in terms of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.formulas.dtypes import cast
from tritoncnn.formulas.sample import along, wrap
from tritoncnn.ops import OPS
from tritoncnn.ops.table import table_for

op = OPS
MEMORY = "a view of memory by strides, which may be others in the next call; index the tensor, or unfold it"


def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The elements x[.., i, i + offset, ..] of two dims, as a last dim."""
    rank = len(x.shape)
    a, b = wrap("diagonal", rank, dim1), wrap("diagonal", rank, dim2)
    if a == b:
        raise ShapeError(f"diagonal: dim1 and dim2 must be two dims of x {list(x.shape)}; got {dim1} and {dim2}")
    others = [d for d in range(rank) if d not in (a, b)]
    H, W = x.shape[a], x.shape[b]
    first = offset if offset >= 0 else -offset * W
    count = max(min(H, W - offset) if offset >= 0 else min(H + offset, W), 0)
    lines = op["reshape"](op["permute"](x, dims=(*others, a, b)), shape=(*(x.shape[d] for d in others), H * W))
    return op["resample"](lines, dim=rank - 2, size=count, rule="zero", numbers=(-first, W + 1))


def diagonal_scatter(x: Any, source: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """x with ``x.diagonal(offset, dim1, dim2)`` replaced."""
    rank = len(x.shape)
    a, b = wrap("diagonal_scatter", rank, dim1), wrap("diagonal_scatter", rank, dim2)
    count = diagonal(x, offset, dim1, dim2).shape[-1]
    if not count:
        return x
    order = (*(d for d in range(rank) if d not in (a, b)), a, b)
    *others, H, W = (x.shape[d] for d in order)
    on = [j - i == offset for i in range(H) for j in range(W)]
    place = [
        min(i, j) if hit else 0 for (i, j), hit in zip(((i, j) for i in range(H) for j in range(W)), on, strict=True)
    ]
    source = cast(source, x.dtype)
    source = source if source.shape == (*others, count) else op["expand"](source, shape=(*others, count))
    spread = op["take"](source, table_for(x, place, along(rank - 1, rank - 2, H * W), "i64"), dim=rank - 2)
    spread = op["reshape"](spread, shape=(*others, H, W))
    found = op["where"](table_for(x, list(map(int, on)), (H, W), "i1"), spread, op["permute"](x, dims=order))
    return op["permute"](found, dims=tuple(order.index(d) for d in range(rank)))


def _is_diagonal(lies: torch.Tensor, size: Sequence[int], stride: Sequence[int], offset: int | None) -> bool:
    """Whether a view by strides of what lies as ``lies`` is a matrix' diagonal, however the matrix lies: fill_diagonal_'s is."""
    if lies.dim() != 2 or not lies.numel() or offset not in (None, lies.storage_offset()):
        return False
    return (tuple(size), tuple(stride)) == ((min(lies.shape),), (sum(lies.stride()),))


def as_strided(
    lies: torch.Tensor, x: Any, size: Sequence[int], stride: Sequence[int], offset: int | None = None
) -> Any:
    """``lies``: a tensor that lies as torch's x does. Raises UnsupportedError for all but the diagonal of a matrix."""
    if not _is_diagonal(lies, size, stride, offset):
        raise UnsupportedError(f"as_strided, {MEMORY}")
    return diagonal(x)


def as_strided_scatter(
    lies: torch.Tensor, x: Any, source: Any, size: Sequence[int], stride: Sequence[int], offset: int | None = None
) -> Any:
    """x with what ``as_strided`` gives replaced."""
    if not _is_diagonal(lies, size, stride, offset):
        raise UnsupportedError(f"a write through as_strided, {MEMORY}")
    return diagonal_scatter(x, source)


# What asks how its first operand lies in torch's memory.
STRIDED: dict[str, Callable[..., Any]] = {
    "as_strided.default": as_strided,
    "as_strided_scatter.default": as_strided_scatter,
}
