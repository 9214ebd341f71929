"""What the compiler knows of a tensor: dtype, logical shape, memory strides."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tritoncnn.errors import GraphError
from tritoncnn.ir.dtype import DTYPE_BYTES, FLOATS


def dense_strides(shape: Sequence[int], order: Sequence[int] | None = None) -> tuple[int, ...]:
    """Strides, in elements, of a dense tensor whose dims lie in memory outermost first as ``order`` says.

    ``order`` None means row-major. dense_strides((N, C, H, W), (0, 2, 3, 1)) is channels-last.
    """
    strides = [0] * len(shape)
    step = 1
    for dim in reversed(range(len(shape)) if order is None else order):
        strides[dim] = step
        step *= max(shape[dim], 1)
    return tuple(strides)


@dataclass(frozen=True)
class TensorType:
    """A tensor of ``dtype`` with logical ``shape``; element (i, j, ...) lies at i*strides[0] + j*strides[1] + ...

    Strides count elements. Use ``TensorType.dense`` unless the strides come from outside.
    """

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPE_BYTES:
            raise GraphError(f"dtype must be one of {', '.join(DTYPE_BYTES)}; got {self.dtype}")
        if len(self.shape) != len(self.strides) or any(size < 0 for size in self.shape):
            raise GraphError(f"a type needs one stride per size and no negative size; got {self.shape}, {self.strides}")

    @staticmethod
    def dense(dtype: str, shape: Sequence[int], order: Sequence[int] | None = None) -> TensorType:
        """A tensor without gaps, row-major or in the memory ``order`` given (dims, outermost first)."""
        return TensorType(dtype, tuple(shape), dense_strides(shape, order))

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements (for a dense tensor: of its memory)."""
        return self.numel * DTYPE_BYTES[self.dtype]

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    @property
    def order(self) -> tuple[int, ...] | None:
        """The memory order of a dense tensor, outermost dim first; None when it has gaps or overlaps.

        A dim of size 1 shares its stride with a neighbour; it counts as the inner one, as dense_strides made it.
        """
        order = tuple(sorted(range(self.rank), key=lambda dim: (-self.strides[dim], self.shape[dim] <= 1, dim)))
        candidate = dense_strides(self.shape, order)
        same = all(a == b or size <= 1 for a, b, size in zip(self.strides, candidate, self.shape, strict=True))
        return order if same else None

    @property
    def overlaps(self) -> bool:
        """Whether some elements share memory, other than along dims of stride 0."""
        dims = sorted(
            (stride, size) for stride, size in zip(self.strides, self.shape, strict=True) if size > 1 and stride
        )
        reach = 0
        for stride, size in dims:
            if stride <= reach:
                return True
            reach += stride * (size - 1)
        return False

    @property
    def is_row_major(self) -> bool:
        expected = dense_strides(self.shape)
        return all(a == b or n <= 1 for a, b, n in zip(self.strides, expected, self.shape, strict=True))

    def with_order(self, order: Sequence[int]) -> TensorType:
        return TensorType.dense(self.dtype, self.shape, order)

    def packed(self) -> TensorType:
        """The dense type in the same memory order; row-major when this one has gaps or repeats elements."""
        return TensorType.dense(self.dtype, self.shape, self.order)

    def with_dtype(self, dtype: str) -> TensorType:
        return TensorType(dtype, self.shape, self.strides)

    def __str__(self) -> str:
        text = f"{self.dtype}[{','.join(map(str, self.shape))}]"
        if self.strides == dense_strides(self.shape):
            return text
        order = self.order
        if order is not None and dense_strides(self.shape, order) == self.strides:
            return f"{text}@{','.join(map(str, order))}"
        return f"{text}@strides({','.join(map(str, self.strides))})"


_TYPE = re.compile(r"(\w+)\[([\d,]*)\](?:@(?:strides\(([-\d,]*)\)|([\d,]+)))?")


def _ints(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(",") if word)


def parse_type(text: str) -> TensorType:
    """Read ``f32[2,3]``, ``f32[2,3,4,5]@0,2,3,1`` (memory order) or ``f32[2,3]@strides(8,1)``; the reverse of str()."""
    match = _TYPE.fullmatch(text.strip())
    if match is None:
        raise GraphError(f"a type reads like f32[2,3] or f32[2,3,4,5]@0,2,3,1; got {text!r}")
    dtype, shape, strides, order = match.groups()
    if strides is not None:
        return TensorType(dtype, _ints(shape), _ints(strides))
    return TensorType.dense(dtype, _ints(shape), _ints(order) if order else None)
