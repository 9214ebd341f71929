"""expand: dims of size 1 (and new leading dims) repeated to ``shape``; a view with stride 0."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import GraphError
from tritoncnn.ir import TensorType
from tritoncnn.ops.define import OpDef, broadcast_shape, sum_to


def infer(x: TensorType, *, shape: tuple[int, ...]) -> TensorType:
    if broadcast_shape(x.shape, shape) != tuple(shape):
        raise GraphError(f"expand: {list(x.shape)} does not expand to {list(shape)}")
    return TensorType.dense(x.dtype, shape)


def reference(x: torch.Tensor, *, shape: tuple[int, ...]) -> torch.Tensor:
    return x.expand(shape)


def grad(dy: Any, y: Any, x: Any, *, shape: tuple[int, ...]) -> tuple[Any]:
    return (sum_to(dy, tuple(x.shape)),)


def view(x: TensorType, *, shape: tuple[int, ...]) -> TensorType:
    lead = len(shape) - x.rank
    kept = (s if n == size else 0 for s, n, size in zip(x.strides, x.shape, shape[lead:], strict=True))
    return TensorType(x.dtype, tuple(shape), (0,) * lead + tuple(kept))


def idle(x: TensorType, *, shape: tuple[int, ...]) -> bool:
    return x.shape == tuple(shape)


expand = OpDef("expand", infer, reference, grad, view=view, idle=idle, stretches=True, samples=(
    (((3, 1),), {"shape": (2, 3, 4)}), (((),), {"shape": (2, 2)}),
))  # fmt: skip
