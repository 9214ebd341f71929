"""pack: tensors laid side by side in one flat arena, each in a memory order of its own; gaps are zero.

The memory plan makes the operands' producers write straight into the arena, so that packing costs nothing.
"""

from __future__ import annotations

import torch

from tritoncnn.errors import GraphError
from tritoncnn.ir import TensorType
from tritoncnn.ops.define import OpDef


def infer(*tensors: TensorType, offsets: tuple[int, ...], size: int) -> TensorType:
    if len(offsets) != len(tensors):
        raise GraphError(f"pack: {len(tensors)} tensors need as many offsets; got {len(offsets)}")
    ends = [0, *(offset + t.numel for offset, t in zip(offsets, tensors, strict=True))]
    if any(offset < end for offset, end in zip([*offsets, size], ends, strict=True)):
        raise GraphError(f"pack: tensors overlap or pass the end of the arena: offsets {list(offsets)}, size {size}")
    return TensorType.dense(tensors[0].dtype, (size,))


def reference(*tensors: torch.Tensor, offsets: tuple[int, ...], size: int) -> torch.Tensor:
    """Each tensor is written in its own memory order (that of its strides)."""
    arena = tensors[0].new_zeros(size)
    for offset, tensor in zip(offsets, tensors, strict=True):
        arena.as_strided(tensor.shape, tensor.stride(), offset).copy_(tensor)
    return arena


pack = OpDef("pack", infer, reference, arity=-1, packs=True, samples=(
    (((2, 3), (4,)), {"offsets": (0, 8), "size": 16}),
))  # fmt: skip
