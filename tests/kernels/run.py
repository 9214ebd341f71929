"""Runs a Launch on tensors, and makes tensors that show a stray read or write.

Under TRITON_INTERPRET=1 kernels run in Triton's interpreter, else on the project's CPU backend.
"""

from __future__ import annotations

from typing import Any

import torch
from triton import knobs

from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import offset_span
from tritoncnn.kernels.launch import Launch
from tritoncnn.testing.arena import DTYPES

GUARD = 64  # elements before and after a tensor
_COMPILED: dict[Any, Any] = {}


def place(tensor: TensorType, values: torch.Tensor | None = None) -> torch.Tensor:
    """A tensor of this type inside a larger buffer. All around it, and in it without ``values``, lie NaNs (or 85s)."""
    dtype = DTYPES[tensor.dtype]
    poison = float("nan") if dtype.is_floating_point else (dtype != torch.bool) * 85
    buffer = torch.full((offset_span(tensor) + 2 * GUARD,), poison, dtype=dtype)
    view = buffer.as_strided(tensor.shape, tensor.strides, GUARD)
    if values is not None:
        view.copy_(values)
    return view


def type_of(tensor: torch.Tensor) -> TensorType:
    name = next(name for name, dtype in DTYPES.items() if dtype == tensor.dtype)
    return TensorType(name, tuple(tensor.shape), tuple(tensor.stride()))


def surroundings_intact(tensor: torch.Tensor) -> bool:
    """Whether nothing was written beside a tensor made by ``place``."""
    buffer = tensor.new_empty(0).set_(tensor.untyped_storage())
    inside = torch.zeros(buffer.shape, dtype=torch.bool)
    inside.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()).fill_(True)
    outside = buffer[~inside]
    return bool((outside.isnan() if buffer.is_floating_point() else outside == (buffer.dtype != torch.bool) * 85).all())


def run(launch: Launch, *tensors: torch.Tensor) -> None:
    """Run a launch on tensors, in the order of ``launch.operands``."""
    assert len(tensors) == len(launch.operands)
    for tensor, wanted in zip(tensors, launch.operands, strict=True):
        assert type_of(tensor) == wanted, f"{type_of(tensor)} was given for {wanted}"
    if 0 in launch.grid:
        return
    plain = [name for name in launch.pointers if name != "args"]
    if knobs.runtime.interpret:
        bound: dict[str, Any] = dict(zip(plain, tensors, strict=False))
        if "args" in launch.pointers:
            bound["args"] = tensors[len(plain) :]
        launch.kernel[launch.grid](**bound, **launch.constants)
        return
    from tritoncnn import cpu
    from tritoncnn.cpu.sanitize.modes import checks

    key = (checks(), launch.kernel, tuple(launch.signature.items()), tuple(launch.constants.items()))
    if key not in _COMPILED:
        _COMPILED[key] = cpu.compile_kernel(launch.kernel, launch.signature, launch.constants)
    _COMPILED[key].launch(launch.grid, tensors)
