"""Small patterns of nodes: what a pass looks for, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tritoncnn.ir.graph import Graph, Node, Value


@dataclass(frozen=True)
class Pattern:
    """A node whose operands are made by nodes of the patterns given.

    ops       names of the ops that the node may be of, or a test that it must stand
    operands  by place: a Pattern for the node that makes it, a name for the value itself (one name, one value), or None for
              anything. Operands beyond them are not looked at.
    some      for the node whose first result is one of the operands, at whichever place
    name      under which the node is found
    alone     nothing but the node above reads its result
    like      the result read has the shape and dtype of the first result of the node above
    """

    ops: tuple[str, ...] | Callable[[Node], bool]
    operands: tuple[Pattern | str | None, ...] = ()
    name: str = ""
    alone: bool = False
    some: Pattern | None = None
    like: bool = False

    def holds(self, node: Node) -> bool:
        return self.ops(node) if callable(self.ops) else node.op in self.ops


@dataclass(frozen=True)
class Match:
    """What a pattern's names stand for."""

    nodes: dict[str, Node] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)


def match(graph: Graph, node: Node, pattern: Pattern) -> Match | None:
    """``node`` as the root of the pattern, in the first of all ways; or None."""
    return next(matches(graph, node, pattern), None)


def matches(graph: Graph, node: Node, pattern: Pattern) -> Iterator[Match]:
    """All ways in which ``node`` is the root of the pattern. Of operands at whichever place the latest made comes first."""
    return _ways(graph, node, pattern, Match())


def _ways(graph: Graph, node: Node, pattern: Pattern, found: Match) -> Iterator[Match]:
    if len(node.operands) < len(pattern.operands) or not pattern.holds(node):
        return
    if pattern.name:
        found = Match({**found.nodes, pattern.name: node}, found.values)
    for way in _by_place(graph, node, pattern.operands, found):
        if pattern.some is None:
            yield way
            continue
        first = {value for value in node.operands if (maker := graph.producer.get(value)) and value == maker.results[0]}
        for value in sorted(first, key=graph.position.__getitem__, reverse=True):
            yield from _made(graph, node, value, pattern.some, way)


def _by_place(graph: Graph, node: Node, wanted: Sequence[Pattern | str | None], found: Match) -> Iterator[Match]:
    """All ways of the last operands of ``wanted``, each with all ways of those before."""
    if not wanted:
        yield found
        return
    value, last = node.operands[len(wanted) - 1], wanted[-1]
    for way in _by_place(graph, node, wanted[:-1], found):
        if isinstance(last, Pattern):
            yield from _made(graph, node, value, last, way)
        elif last is None:
            yield way
        elif way.values.get(last, value) == value:
            yield Match(way.nodes, {**way.values, last: value})


def _made(graph: Graph, node: Node, value: Value, pattern: Pattern, found: Match) -> Iterator[Match]:
    """All ways in which ``value``, which ``node`` reads, is made by a node of the pattern."""
    producer = graph.producer.get(value)
    if producer is None or (pattern.alone and graph.only_user(value) is not node):
        return
    result = node.results[0].type
    if not pattern.like or (value.type.shape, value.type.dtype) == (result.shape, result.dtype):
        yield from _ways(graph, producer, pattern, found)
