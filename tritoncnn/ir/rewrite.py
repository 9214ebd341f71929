"""Making a new graph from an old one: node by node, two nodes at a time, in another order, without dead nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tritoncnn.errors import GraphError
from tritoncnn.ir.graph import Attr, Graph, Node, Value
from tritoncnn.ir.types import TensorType


class Rewriter:
    """Builds a graph node by node, most often from another one.

    ``value`` translates a value of the old graph; ``keep`` copies a node with its operands translated;
    ``add`` makes a new node with fresh result names; ``replace`` says what stands for an old value from now on.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = ""  # of nodes that ``tritoncnn.ops`` adds: the line of the model they belong to
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []
        self._now: dict[Value, Value] = {}
        self._taken: set[str] = set()
        self._next = 0

    def input(self, name: str, type: TensorType) -> Value:
        if name in self._taken:
            raise GraphError(f"graph {self.name} has two inputs named {name!r}")
        self._taken.add(name)
        value = Value(name, type)
        self.inputs.append(value)
        return value

    def keep_inputs(self, graph: Graph) -> None:
        for value in graph.inputs:
            self.input(value.name, value.type)

    def value(self, old: Value) -> Value:
        return self._now.get(old, old)

    def replace(self, old: Value, new: Value) -> None:
        self._now[old] = new

    def fresh(self, type: TensorType) -> Value:
        """A new value; its name is provisional (``finish`` counts anew) and so never that of an old graph's value."""
        self._next += 1
        return Value(f"%new{self._next}", type)

    def add(
        self, op: str, operands: tuple[Value, ...], types: tuple[TensorType, ...], attrs: Mapping[str, Attr],
        source: str = "",
    ) -> tuple[Value, ...]:  # fmt: skip
        results = tuple(self.fresh(type) for type in types)
        self.nodes.append(Node(op, operands, results, dict(attrs), source))
        return results

    def keep(self, node: Node, **changes: Any) -> tuple[Value, ...]:
        """Copy ``node``, operands translated and fields changed; its results stand for the old ones."""
        now = replace(node, **changes) if changes else node
        operands = now.operands if "operands" in changes else tuple(self.value(v) for v in node.operands)
        new = self.add(now.op, operands, tuple(v.type for v in now.results), now.attrs, node.source)
        for old, value in zip(node.results, new, strict=False):
            self.replace(old, value)
        return new

    def finish(self, outputs: tuple[Value, ...]) -> Graph:
        outputs_now = tuple(self.value(v) for v in outputs)
        return number(Graph(self.name, tuple(self.inputs), tuple(self.nodes), outputs_now))


def number(graph: Graph) -> Graph:
    """The same graph, its results named %1, %2... in order."""
    results = (value for node in graph.nodes for value in node.results)
    final = {value: Value(f"%{i}", value.type) for i, value in enumerate(results, 1)}

    def rename(values: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple(final.get(value, value) for value in values)

    nodes = tuple(Node(n.op, rename(n.operands), rename(n.results), n.attrs, n.source) for n in graph.nodes)
    return Graph(graph.name, graph.inputs, nodes, rename(graph.outputs))


def rewrite(graph: Graph, visit: Callable[[Rewriter, Node], bool]) -> Graph:
    """Copy ``graph``; ``visit(rewriter, node)`` may stand in for a node and then returns True, else the node is kept."""
    out = Rewriter(graph.name)
    out.keep_inputs(graph)
    for node in graph.nodes:
        if not visit(out, node):
            out.keep(node)
    return out.finish(graph.outputs)


@dataclass(frozen=True)
class Join:
    """Two nodes that become one. ``made`` is written in values of the old graph: what it reads, and for which results it
    stands. It takes the place of ``at``; ``gone``, whose results nothing else may read, is left out."""

    at: Node
    gone: Node
    made: Node


def merge(graph: Graph, joins: Iterable[Join]) -> Graph:
    """The graph with each pair of nodes joined into one."""
    made: dict[Value, Node | None] = {}
    for join in joins:
        made |= {join.gone.results[0]: None, join.at.results[0]: join.made}

    def visit(out: Rewriter, node: Node) -> bool:
        new = made.get(node.results[0], node)
        if new is not None:
            out.keep(new)
        return True

    return rewrite(graph, visit)


def place_after(graph: Graph, anchors: Mapping[Value, Value]) -> Graph:
    """The same graph with nodes moved so that the node making ``key`` comes right after the one making ``anchors[key]``.

    Other nodes keep their order as far as their operands allow. A pair where the anchor depends on the key is left alone.
    """
    done: dict[int, Node] = {}  # by id, in the new order
    followers: dict[int, list[Node]] = {}
    held = {}
    for value, anchor in anchors.items():
        node, first = graph.producer[value], graph.producer[anchor]
        if not _needs(graph, first, node):
            followers.setdefault(id(first), []).append(node)
            held[id(node)] = first

    def visit(node: Node) -> None:
        if id(node) in done:
            return
        for operand in node.operands:
            if operand in graph.producer:
                visit(graph.producer[operand])
        if id(node) in held:
            visit(held[id(node)])
        if id(node) not in done:
            done[id(node)] = node
            for follower in followers.get(id(node), ()):
                visit(follower)

    for node in graph.nodes:
        visit(node)
    return number(replace(graph, nodes=tuple(done.values())))


def _needs(graph: Graph, node: Node, other: Node) -> bool:
    """Whether ``node`` computes from a result of ``other``."""
    todo, seen = [node], set()
    while todo:
        above = todo.pop()
        if above is other:
            return True
        for operand in above.operands:
            if operand in graph.producer and operand not in seen:
                seen.add(operand)
                todo.append(graph.producer[operand])
    return False


def remove_dead(graph: Graph) -> Graph:
    """Without the nodes that no output needs."""
    wanted = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if any(value in wanted for value in node.results):
            kept.append(node)
            wanted.update(node.operands)
    return number(replace(graph, nodes=tuple(reversed(kept))))
