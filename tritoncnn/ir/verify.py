"""The rules every graph keeps, whatever its ops mean."""

from __future__ import annotations

from collections.abc import Callable

from tritoncnn.errors import GraphError, TritonCNNError
from tritoncnn.ir.graph import Graph, Node, Value

Rule = Callable[[Node], None]


def verify(graph: Graph, rule: Rule | None = None, after: str = "") -> Graph:
    """Return ``graph`` if each value is defined once, before it is used, with one type; else raise GraphError.

    ``rule(node)`` is a further check per node (``tritoncnn.ops.check_node`` knows the ops); ``after`` names the pass
    that made the graph, for the message.
    """
    where = f"{graph.name}{f' after {after}' if after else ''}"
    known: dict[str, Value] = {}

    def define(value: Value, place: str) -> None:
        if value.name in known:
            raise GraphError(f"{where}: {place} defines {value} again")
        known[value.name] = value

    def use(value: Value, place: str) -> None:
        found = known.get(value.name)
        if found is None:
            raise GraphError(f"{where}: {place} uses {value} before it is defined")
        if found.type != value.type:
            raise GraphError(f"{where}: {place} uses {value} as {value.type}; it is {found.type}")

    for value in graph.inputs:
        define(value, "the input list")
    for node in graph.nodes:
        place = f"{node.op}{f' from {node.source}' if node.source else ''}"
        for value in node.operands:
            use(value, place)
        if not node.results:
            raise GraphError(f"{where}: {place} has no result")
        for value in node.results:
            define(value, place)
        if rule is not None:
            try:
                rule(node)
            except TritonCNNError as error:
                raise GraphError(f"{where}: {place}: {error}") from error
    for value in graph.outputs:
        use(value, "the output list")
    return graph
