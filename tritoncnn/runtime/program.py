"""What runs a plan on its target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch

from tritoncnn.plan import Plan


class Program(Protocol):
    """A plan with its kernels compiled and its memory bound.

    ``buffers``, given and kept, is memory by name for graph inputs and outputs that stay where they are (parameters, states);
    the rest of them is lent to each ``run``. The plan's own memory (arena, packs, constants) is the program's to allocate.
    """

    plan: Plan
    buffers: dict[str, torch.Tensor]

    def __init__(self, plan: Plan, buffers: Mapping[str, torch.Tensor]) -> None: ...

    def bind(self, name: str, tensor: torch.Tensor) -> None:
        """Let ``tensor`` be the memory of an input or output from now on; the caller checked its type."""

    def run(self, lent: Iterable[tuple[str, torch.Tensor]], times: int = 1) -> None:
        """One call on the caller's memory, or as many as ``times``: inputs and outputs by name. None of it is kept."""
