"""const: one number, an int where the dtype holds whole ones. Fused expressions hold it in their text."""

from __future__ import annotations

import torch

from tritoncnn.ir import TensorType
from tritoncnn.ops.define import TORCH_DTYPE, OpDef


def infer(*, value: float, dtype: str) -> TensorType:
    return TensorType.dense(dtype, ())


def reference(*, value: float, dtype: str) -> torch.Tensor:
    """Floats as a 0-d fp64 tensor, which takes the precision of whatever it meets."""
    exact = TORCH_DTYPE[dtype].is_floating_point
    return torch.tensor(value, dtype=torch.float64 if exact else TORCH_DTYPE[dtype])


const = OpDef("const", infer, reference, arity=0, number=lambda value, dtype: (value,), again=True)
