"""const: one number. Fused expressions hold it in their text, so it never takes memory of its own."""

from __future__ import annotations

import torch

from tritoncnn.ir import TensorType
from tritoncnn.ops.define import TORCH_DTYPE, OpDef


def infer(*, value: float, dtype: str) -> TensorType:
    return TensorType.dense(dtype, ())


def reference(*, value: float, dtype: str) -> torch.Tensor:
    return torch.tensor(value, dtype=TORCH_DTYPE[dtype])


const = OpDef("const", infer, reference, arity=0)
