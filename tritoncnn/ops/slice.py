"""slice: a tensor that lies inside a flat arena; always a view. Parameters are slices of the parameter arena."""

from __future__ import annotations

import torch

from tritoncnn.errors import GraphError
from tritoncnn.ir import TensorType
from tritoncnn.ops.define import OpDef


def infer(arena: TensorType, *, offset: int, shape: tuple[int, ...], order: tuple[int, ...]) -> TensorType:
    result = TensorType.dense(arena.dtype, shape)
    if arena.rank != 1 or not 0 <= offset <= arena.numel - result.numel:
        raise GraphError(f"slice: {list(shape)} at {offset} does not fit into an arena of {list(arena.shape)}")
    return result


def reference(arena: torch.Tensor, *, offset: int, shape: tuple[int, ...], order: tuple[int, ...]) -> torch.Tensor:
    return arena.as_strided(shape, TensorType.dense("f32", shape, order).strides, arena.storage_offset() + offset)


def view(arena: TensorType, *, offset: int, shape: tuple[int, ...], order: tuple[int, ...]) -> TensorType:
    return TensorType.dense(arena.dtype, shape, order)


def first(arena: TensorType, *, offset: int, shape: tuple[int, ...], order: tuple[int, ...]) -> int:
    return offset


slice_ = OpDef(
    "slice",
    infer,
    reference,
    view=view,
    offset=first,
    samples=((((20,),), {"offset": 4, "shape": (3, 4), "order": (1, 0)}),),
)
