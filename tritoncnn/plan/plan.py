"""The plan: a static list of kernel launches and where their tensors lie. Data only; the runtime binds and runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tritoncnn.ir import Graph, Node
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.target import Target
from tritoncnn.plan.memory import Place


@dataclass(frozen=True)
class Call:
    """One launch, the place of each of its operands, and the node it computes (or is a part of)."""

    launch: Launch
    places: tuple[Place, ...]
    node: Node


@dataclass(frozen=True)
class Plan:
    """target        what it is for
    calls         launches in order
    outputs       place of each graph output
    sizes         bytes of each buffer that the plan owns: ``arena``, ``constants``, packs
    constants     (offset in ``constants``, numbers, dtype)
    tensor_bytes  what all results would take without reuse, beside ``sizes['arena']``
    """

    graph: Graph
    target: Target
    calls: tuple[Call, ...]
    outputs: tuple[Place, ...]
    sizes: Mapping[str, int]
    constants: tuple[tuple[int, tuple[float, ...], str], ...]
    tensor_bytes: int
    sources: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        from tritoncnn.plan.report import print_plan

        return print_plan(self)
