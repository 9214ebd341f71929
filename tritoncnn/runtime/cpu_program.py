"""Plan -> results on a CPU: kernels compiled once, launches bound once, replayed by one native call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from tritoncnn import cpu
from tritoncnn.ir import DTYPE_BYTES, TensorType
from tritoncnn.kernels.building import offset_span
from tritoncnn.kernels.launch import Launch
from tritoncnn.ops import TORCH_DTYPE
from tritoncnn.plan import Plan


def compile_launch(launch: Launch) -> tuple[Any, list[int]]:
    """(the compiled kernel, which of its arguments each operand of the launch fills)."""
    kernel = cpu.compile_kernel(launch.kernel, launch.signature, launch.constants)
    where = {name: i for i, (name, _) in enumerate(kernel.arguments)}
    return kernel, [where[name] for name in launch.arguments]


class CpuProgram:
    """A plan with its kernels compiled and its pointers bound.

    ``buffers`` gives memory for graph inputs and outputs that stay where they are (parameters, states); the rest of
    them is lent to each ``run``. The plan's own memory (arena, packs, constants) is allocated here, zeroed.
    """

    def __init__(self, plan: Plan, buffers: Mapping[str, torch.Tensor]) -> None:
        self.plan = plan
        self.buffers = dict(buffers)
        for name, nbytes in plan.sizes.items():
            if name not in self.buffers:
                self.buffers[name] = _aligned_zeros(nbytes)
        for offset, numbers, dtype in plan.constants:
            array = torch.tensor(numbers, dtype=TORCH_DTYPE[dtype], device="cpu")
            self.buffers["constants"][offset : offset + array.nbytes] = array.view(torch.uint8)
        places: dict[str, list[tuple[int, int, int]]] = {}  # buffer -> (launch, argument, byte offset)
        launches = []
        for index, call in enumerate(plan.calls):
            kernel, arguments = compile_launch(call.launch)
            values = [0] * len(kernel.arguments)
            for place, argument, type in zip(call.places, arguments, call.launch.operands, strict=True):
                places.setdefault(place.buffer, []).append((index, argument, place.offset))
                known = place.buffer in self.buffers
                address = self.buffers[place.buffer].data_ptr() + place.offset if known else 0
                values[argument] = cpu.Address(address, _reach(type))
            launches.append((kernel, call.launch.grid, values))
        self._native = cpu.NativePlan(launches)
        self._pointers = {
            name: [(self._native.pointer(launch, argument), offset) for launch, argument, offset in found]
            for name, found in places.items()
        }

    def bind(self, name: str, tensor: torch.Tensor) -> None:
        """Let ``tensor`` be the memory of an input or output from now on; the caller checked its type."""
        self.buffers[name] = tensor
        self._point(name, tensor.data_ptr())

    def run(self, lent: Iterable[tuple[str, torch.Tensor]]) -> None:
        """One call on the caller's memory: inputs and outputs by name. None of it is kept."""
        for name, tensor in lent:
            self._point(name, tensor.data_ptr())
        self._native.run()

    def _point(self, name: str, address: int) -> None:
        for pointer, offset in self._pointers.get(name, ()):
            pointer.value = address + offset


def _reach(type: TensorType) -> int:
    """Bytes from a tensor's first element to its last one."""
    return offset_span(type) * DTYPE_BYTES[type.dtype] if type.numel else 0


def _aligned_zeros(nbytes: int) -> torch.Tensor:
    """Zeroed bytes whose address is a multiple of a cache line."""
    raw = torch.zeros(nbytes + 64, dtype=torch.uint8, device="cpu")
    start = -raw.data_ptr() % 64
    return raw[start : start + nbytes]
