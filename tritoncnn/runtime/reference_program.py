"""A plan's graph run by torch references (TRITONCNN_REFERENCE=1): slow, for finding out which kernel is at fault."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from tritoncnn.ops.evaluate import evaluate
from tritoncnn.plan import Plan


class ReferenceProgram:
    """A Program, as ``program.py`` says, of any target's plan."""

    def __init__(self, plan: Plan, buffers: Mapping[str, torch.Tensor]) -> None:
        self.plan = plan
        self.buffers = dict(buffers)

    def bind(self, name: str, tensor: torch.Tensor) -> None:
        self.buffers[name] = tensor

    def run(self, lent: Iterable[tuple[str, torch.Tensor]], times: int = 1) -> None:
        graph, buffers = self.plan.graph, {**self.buffers, **dict(lent)}
        for _ in range(times):
            results = evaluate(graph, {value.name: buffers[value.name] for value in graph.inputs})
            for place, result in zip(self.plan.outputs, results, strict=True):
                buffers[place.buffer].copy_(result)
