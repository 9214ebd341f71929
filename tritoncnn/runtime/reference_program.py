"""A plan's graph run by torch references (TRITONCNN_REFERENCE=1): slow, for finding out which kernel is at fault."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import torch

from tritoncnn import forks
from tritoncnn.ops.evaluate import evaluate
from tritoncnn.plan import Plan


class ReferenceProgram:
    """A Program, as ``program.py`` says, of any target's plan."""

    def __init__(self, plan: Plan, buffers: Mapping[str, torch.Tensor], lent: Sequence[str]) -> None:
        self.plan = plan
        self.buffers = dict(buffers)
        self._lent = tuple(lent)
        self._lock = threading.Lock()

    def bind(self, name: str, tensor: torch.Tensor) -> None:
        self.buffers[name] = tensor

    def run(self, tensors: Sequence[torch.Tensor], times: int = 1) -> None:
        graph = self.plan.graph
        with forks.apart(), self._lock:
            buffers = {**self.buffers, **dict(zip(self._lent, tensors, strict=True))}
            for _ in range(times):
                results = evaluate(graph, {value.name: buffers[value.name] for value in graph.inputs})
                for place, result in zip(self.plan.outputs, results, strict=True):
                    buffers[place.buffer].copy_(result)
