"""Small patterns of nodes: what a pass looks for, as data."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir.graph import Graph, Node, Value


@dataclass(frozen=True)
class Pattern:
    """A node of one of the ``ops``, whose operands are made by nodes of the patterns given.

    operands  by place: a Pattern for the node that makes it, a name for the value itself (one name, one value), or None for
              anything. Operands beyond them are not looked at.
    name      under which the node is found
    alone     nothing but the node above reads its result
    """

    ops: tuple[str, ...]
    operands: tuple[Pattern | str | None, ...] = ()
    name: str = ""
    alone: bool = False


@dataclass(frozen=True)
class Match:
    """What a pattern's names stand for."""

    nodes: dict[str, Node]
    values: dict[str, Value]


def match(graph: Graph, node: Node, pattern: Pattern) -> Match | None:
    """``node`` as the root of the pattern, or None."""
    found = Match({}, {})
    return found if _fits(graph, node, pattern, found) else None


def _fits(graph: Graph, node: Node, pattern: Pattern, found: Match) -> bool:
    if node.op not in pattern.ops or len(node.operands) < len(pattern.operands):
        return False
    if pattern.name:
        found.nodes[pattern.name] = node
    for value, wanted in zip(node.operands, pattern.operands, strict=False):
        if isinstance(wanted, str):
            if found.values.setdefault(wanted, value) != value:
                return False
        elif wanted is not None:
            producer = graph.producer.get(value)
            if producer is None or (wanted.alone and graph.only_user(value) is not node):
                return False
            if not _fits(graph, producer, wanted, found):
                return False
    return True
