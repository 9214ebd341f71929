"""Whether a call's tensors are surely like those it was planned for, asked without a line of Python for each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch._C._dynamo import guards  # torch's own: another version may lack what is taken from there
from torch.autograd import forward_ad

from tritoncnn.ir import TensorType
from tritoncnn.ops import TORCH_DTYPE


class Alike:
    """``alike(tensors)``: are they plain tensors with memory on the CPU, dtypes, sizes and strides as ``types``, none of which
    requires a gradient?

    False where it is not sure, as inside of autocast, for subclasses, for one tensor at two places, and always where torch has no
    such check: then one looks closer.
    """

    def __init__(self, types: Sequence[TensorType]) -> None:
        self._count = len(types) if hasattr(guards, "TensorGuards") else -1
        self._guards = []
        # A check of torch's holds in the inference mode of its making, for tensors of one kind: (mode, kind).
        for mode, kind in ((False, False), (True, False), (True, True)) if self._count >= 0 else ():
            with torch.inference_mode(kind):
                tensors = [_empty(type) for type in types]
            with torch.inference_mode(mode):
                guard = guards.TensorGuards(*tensors, dynamic_dims_sizes=None, dynamic_dims_strides=None)
            self._guards.append(guard)

    def __call__(self, tensors: Sequence[object]) -> bool:
        if len(tensors) != self._count or forward_ad._current_level >= 0:  # a dual tensor looks like any other
            return False
        for tensor in tensors:
            if getattr(tensor, "is_nested", False):  # torch's check aborts the process
                return False
        usual, *others = self._guards
        return usual.check(*tensors) or any(guard.check(*tensors) for guard in others)


def _empty(type: TensorType) -> torch.Tensor:
    return torch.empty_strided(type.shape, type.strides, dtype=TORCH_DTYPE[type.dtype], device="cpu")
