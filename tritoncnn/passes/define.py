"""What a pass is."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Value
from tritoncnn.ops import OPS


@dataclass(frozen=True)
class Pass:
    """Graph -> (Graph, note): a new graph and, in words, what was changed; an empty note when nothing was."""

    @property
    def name(self) -> str:
        return type(self).__name__

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        raise NotImplementedError


def count(number: int, thing: str, things: str = "") -> str:
    """'1 node', '2 nodes', '2 copies'."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def is_pointwise(node: Node) -> bool:
    """Is it a node of one expression, as FusePointwise makes them?"""
    return bool(OPS[node.op].expression)


LONGEST_EPILOGUE = 48  # ops, of which an expression has no more
WIDER = 8  # a reader of so many times the elements computes a value again at no cost to speak of


def is_small_beside(value: Value, result: Value) -> bool:
    """Has ``result`` so many more elements that computing ``value`` again is nothing beside computing them?"""
    return value.type.numel * WIDER <= result.type.numel


def is_epilogue(graph: Graph, value: Value) -> bool:
    """Whether pointwise ops compute the value of a kernel's first result, which nobody else reads: in its epilogue slot."""
    left, seen = [value], 0
    while left and seen < LONGEST_EPILOGUE:
        node, seen = graph.producer[left.pop()], seen + 1
        if not (OPS[node.op].triton or OPS[node.op].reshapes):
            continue
        like = [v for v in node.operands if v.type.numel == value.type.numel and v.type.dtype == value.type.dtype]
        alone = [v for v in like if v in graph.producer and len(graph.users[v]) == 1]
        if any(OPS[graph.producer[v].op].epilogue and v is graph.producer[v].results[0] for v in alone):
            return True
        left += alone
    return False


def root(graph: Graph, value: Value) -> Value:
    """The value whose memory ``value`` is a view of."""
    node = graph.producer.get(value)
    while node is not None and OPS[node.op].view is not None:
        value = node.operands[0]
        node = graph.producer.get(value)
    return value
