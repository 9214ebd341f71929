"""increment: step + 1, in place: the step count is data, not code."""

from __future__ import annotations

import torch

from tritoncnn.errors import DTypeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import optimizers as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef


def infer(step: TensorType) -> TensorType:
    if step.rank != 0 or step.dtype != "i64":
        raise DTypeError(f"increment: step must be a 0-d i64 tensor; got {step}")
    return step


def reference(step: torch.Tensor) -> torch.Tensor:
    return step + 1


def lower(node: Node, target: Target) -> Lowering:
    return Lowering(((kernel.increment(node.result.type), ("r0",)),))


increment = OpDef("increment", infer, reference, lower=lower, inplace=((0, 0),), samples=(((("i64", (), 1000),), {}),))
