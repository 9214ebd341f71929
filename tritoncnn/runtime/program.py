"""What runs a plan on its target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from tritoncnn.plan import Plan


class Program(Protocol):
    """A plan with its kernels compiled and its memory bound.

    ``buffers``, given and kept, is memory by name for graph inputs and outputs that stay where they are (parameters, states);
    that of the names in ``lent`` is lent to each ``run``. The plan's own memory (arena, packs, constants) is the program's to
    allocate.
    """

    plan: Plan
    buffers: dict[str, torch.Tensor]

    def __init__(self, plan: Plan, buffers: Mapping[str, torch.Tensor], lent: Sequence[str]) -> None: ...

    def bind(self, name: str, tensor: torch.Tensor) -> None:
        """Let ``tensor`` be the memory of an input or output from now on; the caller checked its type."""

    def run(self, tensors: Sequence[torch.Tensor], times: int = 1) -> None:
        """One call on the caller's memory, that of the ``lent`` names, or as many as ``times``. None of it is kept.

        Calls of several threads wait for each other.
        """
