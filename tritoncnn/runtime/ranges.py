"""Places and class numbers in a caller's tensors: those that are out of range are refused before a plan runs, as torch does.

A kernel could only turn them into NaN, which is what becomes of those that a model computes from floats or several inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from tritoncnn.allowed import Allowed
from tritoncnn.ir import Graph, Node, Value
from tritoncnn.ops import OPS
from tritoncnn.ops.evaluate import run_reference

HELD = {"u8": (0, 256), "i1": (0, 2)}  # from what to below what numbers of a dtype are
# Nodes that are computed on the host for a check; what is further from its inputs becomes NaN. All 16 take 10 ns for each class
# number, the look at the numbers alone 4.5: 1.1 and 0.45 % of a step of FCN on 16 pictures of 96 x 96, on one thread.
LONGEST = 16


@dataclass(frozen=True, eq=False)
class Range:
    """What ``nodes`` compute of the tensors ``positions`` of a call must be numbers that are ``allowed``.

    Several tensors: class numbers and the mask that selects among them.
    """

    positions: tuple[int, ...]
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    value: Value
    allowed: Allowed

    @property
    def certain(self) -> bool:
        """Whether all numbers that the input's dtype can hold are allowed, and come as they are."""
        least, end = HELD.get(self.inputs[0].type.dtype, (-1, -1))
        plain = len(self.inputs) == 1 and all((op := OPS[node.op]).view or op.whole for node in self.nodes)
        return plain and least >= 0 and self.allowed.low <= least and end <= self.allowed.high

    def check(self, tensors: Sequence[torch.Tensor], name_of: Callable[[int], str]) -> None:
        """Raises OutOfRangeError, which calls a tensor by the name of its position; of several, the one of class numbers."""
        known = {value: tensors[position] for value, position in zip(self.inputs, self.positions, strict=True)}
        for node in self.nodes:
            known[node.result] = run_reference(node, tuple(known[v] for v in node.operands))[0]
        numbered = (
            position
            for value, position in zip(self.inputs, self.positions, strict=True)
            if len(self.inputs) == 1 or not (value.type.is_float or value.type.dtype == "i1")
        )
        self.allowed.check(known[self.value], name_of(next(numbered, self.positions[0])))


def ranges_of(graph: Graph, inputs: Sequence[str]) -> tuple[Range, ...]:
    """What the tensors of a call are checked for, each once; ``inputs`` are their names in the graph.

    What a tensor's dtype rules out is not looked for.
    """
    found: dict[object, Range] = {}
    for node in graph.nodes:
        way = _way(graph, node.operands[0]) if OPS[node.op].promises else None
        if way is not None and all(source.name in inputs for source in way[0]):
            sources, nodes = way
            nodes, value = _shortened(nodes, node.operands[0])
            positions = tuple(inputs.index(source.name) for source in sources)
            found.setdefault(
                (value, *node.attrs.values()),
                Range(positions, sources, nodes, value, Allowed(**node.attrs)),  # type: ignore[arg-type]
            )
    return tuple(range for range in found.values() if not range.certain)


def _way(graph: Graph, value: Value) -> tuple[tuple[Value, ...], tuple[Node, ...]] | None:
    """(inputs, the views and pointwise ops of whole numbers that lead from them to ``value``); None when there is no such way."""
    reached, left = {value}, [value]
    while left:
        node = graph.producer.get(left.pop())
        if node is not None:
            op = OPS[node.op]
            known = len(node.results) == 1 and bool(op.view or op.triton or op.number)
            if not known or (node.result.type.is_float and not op.number) or len(reached) > 2 * LONGEST:
                return None
            left += [v for v in node.operands if v not in reached]
            reached.update(node.operands)
    sources = tuple(v for v in graph.inputs if v in reached)
    nodes = tuple(node for node in graph.nodes if reached.intersection(node.results))
    return (sources, nodes) if sources and len(nodes) <= LONGEST else None


def _shortened(nodes: tuple[Node, ...], value: Value) -> tuple[tuple[Node, ...], Value]:
    """Without the last views that show the same numbers in another shape."""
    while nodes and OPS[nodes[-1].op].view and nodes[-1].result.type.numel >= nodes[-1].operands[0].type.numel:
        value = nodes[-1].operands[0]
        nodes = nodes[:-1]
    return nodes, value
