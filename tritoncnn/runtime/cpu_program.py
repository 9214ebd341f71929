"""Plan -> results on a CPU: kernels compiled once, launches bound once, replayed by one native call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tritoncnn import cpu
from tritoncnn.kernels.building import reach
from tritoncnn.kernels.launch import Launch
from tritoncnn.memory import in_words, memory_left
from tritoncnn.ops import TORCH_DTYPE
from tritoncnn.plan import Call, Plan

LARGE = 1 << 28  # bytes; a plan that needs less asks the system nothing


def compile_launches(launches: Sequence[Launch]) -> list[tuple[Any, list[int]]]:
    """(the compiled kernel, which of its arguments each operand of the launch fills), for each launch."""
    kernels = cpu.compile_requests([cpu.request(x.kernel, x.signature, x.constants) for x in launches])
    found = []
    for launch, kernel in zip(launches, kernels, strict=True):
        where = {name: i for i, (name, _) in enumerate(kernel.arguments)}
        found.append((kernel, [where[name] for name in launch.arguments]))
    return found


def compile_launch(launch: Launch) -> tuple[Any, list[int]]:
    """``compile_launches`` for one."""
    return compile_launches([launch])[0]


class CpuProgram(cpu.Replay):
    """A Program, as ``program.py`` says, whose calls are bound pointers. The plan's own memory is zeroed.

    Raises MemoryError where it is more than there is: zeroing it would end the process, or others.
    """

    def __init__(self, plan: Plan, buffers: Mapping[str, torch.Tensor], lent: Sequence[str]) -> None:
        self.plan = plan
        needed = sum(nbytes for name, nbytes in plan.sizes.items() if name not in buffers)
        if needed > LARGE and needed > (left := memory_left()):
            raise MemoryError(f"what is compiled needs {in_words(needed)} of memory; {in_words(left)} are left")
        own = {name: cpu.aligned_zeros(nbytes) for name, nbytes in plan.sizes.items() if name not in buffers}
        for offset, numbers, dtype in plan.constants:
            array = torch.tensor(numbers, dtype=TORCH_DTYPE[dtype], device="cpu")
            own["constants"][offset : offset + array.nbytes] = array.view(torch.uint8)
        compiled = compile_launches([call.launch for call in plan.calls])
        super().__init__(
            [_recorded(call, *one) for call, one in zip(plan.calls, compiled, strict=True)], {**buffers, **own}, lent
        )


def _recorded(call: Call, kernel: Any, arguments: Sequence[int]) -> cpu.Recorded:
    places = (
        cpu.Placed(place.buffer, argument, place.offset, reach(type))
        for place, argument, type in zip(call.places, arguments, call.launch.operands, strict=True)
    )
    return cpu.Recorded(kernel, tuple(call.launch.grid), tuple(places))
