"""narrow: ``size`` elements of one dim from ``start`` on, ``step`` apart; a view."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.ops.define import OpDef, is_float, op_named


def infer(x: TensorType, *, dim: int, start: int, size: int, step: int = 1) -> TensorType:
    return TensorType.dense(x.dtype, view(x, dim=dim, start=start, size=size, step=step).shape)


def reference(x: torch.Tensor, *, dim: int, start: int, size: int, step: int = 1) -> torch.Tensor:
    return x[(slice(None),) * dim + (slice(start, start + (size - 1) * step + 1 if size else start, step),)]


def grad(dy: Any, y: Any, x: Any, *, dim: int, start: int, size: int, step: int = 1) -> tuple[Any]:
    """Zeros around and between."""
    if not is_float(x):
        return (None,)
    numbers = (-start, step)
    return (op_named("resample")(dy, dim=dim, size=x.shape[dim], rule="zero", numbers=numbers, adjoint=True),)


def view(x: TensorType, *, dim: int, start: int, size: int, step: int = 1) -> TensorType:
    n = x.shape[dim] if 0 <= dim < x.rank else -1
    if n < 0 or step < 1 or size < 0 or start < 0 or (start + (size - 1) * step >= n if size else start > n):
        raise ShapeError(
            f"narrow: {size} elements from {start} on in steps of {step} must lie in dim {dim} of x {list(x.shape)}"
        )
    strides = (*x.strides[:dim], x.strides[dim] * step, *x.strides[dim + 1 :])
    return TensorType(x.dtype, (*x.shape[:dim], size, *x.shape[dim + 1 :]), strides)


def offset(x: TensorType, *, dim: int, start: int, size: int, step: int = 1) -> int:
    return x.strides[dim] * start


narrow = OpDef("narrow", infer, reference, grad, view=view, offset=offset, samples=(
    (((4, 7),), {"dim": 1, "start": 2, "size": 3}),
    (((2, 3, 5, 7),), {"dim": 2, "start": 1, "size": 2, "step": 3}),
    (((4, 7),), {"dim": 0, "start": 4, "size": 0}),
    ((("i64", (6,), 9),), {"dim": 0, "start": 0, "size": 6}),
))  # fmt: skip
