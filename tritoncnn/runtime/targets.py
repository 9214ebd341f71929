"""The target that tensors of a device are computed on, and what runs its plans."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence

import torch

from tritoncnn import cpu, settings
from tritoncnn.errors import UnsupportedError
from tritoncnn.kernels.target import Target
from tritoncnn.plan import Plan
from tritoncnn.runtime.cpu_program import CpuProgram
from tritoncnn.runtime.program import Program
from tritoncnn.runtime.reference_program import ReferenceProgram

PROGRAMS: dict[str, type[Program]] = {"cpu": CpuProgram}  # by a target's kind


def target_of(device: torch.device) -> Target:
    """Raises UnsupportedError for a device that kernels are not made for."""
    if device.type == "cpu":
        return _cpu()
    if device.type == "cuda":
        return _gpu(device)
    raise UnsupportedError(f"tensors must be on a cpu or on a GPU of type cuda; got {device}")


def _cpu() -> Target:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Target("cpu", platform.machine(), cpu.host().lanes, memory)


def _gpu(device: torch.device) -> Target:
    facts = torch.cuda.get_device_properties(device)
    hip = torch.version.hip is not None
    architecture = str(facts.gcnArchName).partition(":")[0] if hip else f"sm_{facts.major}{facts.minor}"
    return Target("hip" if hip else "cuda", architecture, facts.multi_processor_count, facts.total_memory)


def make_program(plan: Plan, buffers: Mapping[str, torch.Tensor], lent: Sequence[str]) -> Program:
    """What runs ``plan``. Raises UnsupportedError for a target that plans are made for, and not run on."""
    kind = plan.target.kind
    if kind not in PROGRAMS:
        raise UnsupportedError(f"plans for {kind} are made but not run; those for {', '.join(PROGRAMS)} are")
    program = ReferenceProgram if settings.current().reference else PROGRAMS[kind]
    return program(plan, buffers, lent)
