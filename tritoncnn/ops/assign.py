"""assign: x becomes the new content of a buffer that outlives the plan, such as running statistics; no gradient."""

from __future__ import annotations

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import pointwise as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef


def infer(buffer: TensorType, x: TensorType) -> TensorType:
    if (buffer.dtype, buffer.shape) != (x.dtype, x.shape):
        raise ShapeError(f"assign: x must be {buffer}, as the buffer is; got {x}")
    return TensorType.dense(buffer.dtype, buffer.shape)


def reference(buffer: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return x.clone()


def lower(node: Node, target: Target) -> Lowering:
    return Lowering(((kernel.copy(node.result.type, node.operands[1].type, target=target), ("r0", "o1")),))


assign = OpDef(
    "assign",
    infer,
    reference,
    lower=lower,
    arity=2,
    inplace=((0, 0),),
    samples=((((7,), (7,)), {}), (((2, 3), (2, 3)), {})),
)
