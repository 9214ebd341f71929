"""Dims of tensors that are walked together: broadcasting, and merging those that need no separate index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.ir import TensorType

Dim = tuple[int, list[int]]  # a merged dim: its size, and its stride in every tensor


def stretch(operand: TensorType, shape: Sequence[int]) -> TensorType:
    """The operand broadcast to ``shape`` as torch does: stride 0 along stretched dims. Raises ShapeError."""
    lead = len(shape) - operand.rank
    fits = lead >= 0 and all(size in (1, wanted) for size, wanted in zip(operand.shape, shape[lead:], strict=True))
    if not fits:
        raise ShapeError(f"an operand must broadcast to {list(shape)}; got {list(operand.shape)}")
    strides = [
        0 if size != wanted else stride
        for size, stride, wanted in zip(operand.shape, operand.strides, shape[lead:], strict=True)
    ]
    return TensorType(operand.dtype, tuple(shape), (0,) * lead + tuple(strides))


def merge_dims(tensors: Sequence[TensorType]) -> list[Dim]:
    """(size, stride in every tensor) of each merged dim, outermost in the first tensor's memory first.

    The tensors have one shape. Dims of size 1 vanish; neighbours merge where in every tensor the outer stride is the inner
    one times the inner size.
    """
    first = tensors[0]
    dims: list[Dim] = []
    for d in sorted(range(first.rank), key=lambda d: -abs(first.strides[d])):
        size, strides = first.shape[d], [t.strides[d] for t in tensors]
        if size == 1:
            continue
        if dims and all(outer == inner * size for outer, inner in zip(dims[-1][1], strides, strict=True)):
            dims[-1] = (dims[-1][0] * size, strides)
        else:
            dims.append((size, strides))
    return dims


def without_dim(tensor: TensorType, dim: int) -> TensorType:
    """The type of one slice of the tensor across ``dim``."""
    return TensorType(
        tensor.dtype, tensor.shape[:dim] + tensor.shape[dim + 1 :], tensor.strides[:dim] + tensor.strides[dim + 1 :]
    )


class FiveDims(NamedTuple):
    """Sizes of five dims, and their strides in each tensor."""

    sizes: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]


def five_dims(op: str, dims: Sequence[Dim], tensors: int, last: Dim | None = None) -> FiveDims:
    """Merged dims filled up to five, for kernels that walk five; ``last`` comes after them. Raises UnsupportedError."""
    dims = [*dims, last] if last else list(dims)
    if len(dims) > 5:
        raise UnsupportedError(f"{op}: at most 5 dims that cannot be merged; got {[size for size, _ in dims]}")
    filled = [(1, [0] * tensors)] * (5 - len(dims)) + dims
    return FiveDims(
        tuple(size for size, _ in filled), tuple(tuple(strides[j] for _, strides in filled) for j in range(tensors))
    )
