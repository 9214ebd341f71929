"""The target that tensors of a device are computed on."""

from __future__ import annotations

import os
import platform

import torch

from tritoncnn import cpu
from tritoncnn.errors import UnsupportedError
from tritoncnn.kernels.target import Target


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
