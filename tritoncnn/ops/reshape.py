"""reshape: the same elements in the same (row-major) order under another shape; a view where the strides allow."""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.errors import GraphError
from tritoncnn.ir import TensorType
from tritoncnn.ops.define import OpDef


def infer(x: TensorType, *, shape: tuple[int, ...]) -> TensorType:
    if math.prod(shape) != x.numel:
        raise GraphError(f"reshape: {list(x.shape)} has {x.numel} elements; {list(shape)} has {math.prod(shape)}")
    return TensorType.dense(x.dtype, shape)


def reference(x: torch.Tensor, *, shape: tuple[int, ...]) -> torch.Tensor:
    return x.reshape(shape)


def grad(dy: Any, y: Any, x: Any, *, shape: tuple[int, ...]) -> tuple[Any]:
    return (reshape(dy, shape=tuple(x.shape)),)


def view(x: TensorType, *, shape: tuple[int, ...]) -> TensorType | None:
    """Strides of the result in x's memory, by torch's own rule, or None when it takes a copy."""
    try:
        strides = torch.empty_strided(x.shape, x.strides, device="meta").view(shape).stride()
    except (RuntimeError, ValueError):  # the latter from torch.compile's fake tensors
        return None
    return TensorType(x.dtype, tuple(shape), tuple(strides))


reshape = OpDef("reshape", infer, reference, grad, view=view, samples=(
    (((2, 3, 4),), {"shape": (6, 4)}), (((0, 3),), {"shape": (3, 0)}), (((1,),), {"shape": ()}),
))  # fmt: skip
