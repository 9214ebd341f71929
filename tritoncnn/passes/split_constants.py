"""What follows from parameters alone is computed when they are loaded, not at each call."""

from __future__ import annotations

from collections.abc import Collection

from tritoncnn.ir import Graph, Node, Rewriter, Value, remove_dead
from tritoncnn.ops import OPS

PREPARED = (
    "prepared/"  # begins the names of inputs that the first graph computes: no attribute of a module is written so
)


def constant_values(graph: Graph, names: Collection[str]) -> frozenset[Value]:
    """The inputs of these names, numbers and tables of the graph, and all that follows from these alone."""
    known = {value for value in graph.inputs if value.name in names}
    for node in graph.nodes:
        if all(v in known for v in node.operands):
            known.update(node.results)
    return frozenset(known)


def split_constants(graph: Graph, parameters: Collection[str]) -> tuple[Graph, Graph]:
    """f(x, w, b)   =>   g(w, b) = (c0, c1...);   h(x, c0, c1..., b), where h is what is left to do at each call

    ``c`` are the results of g, dtype by dtype, and inputs ``prepared/0``... of h in that order; what h reads of the parameters
    themselves, or through views, stays its input. Both graphs have only the inputs that they read, and h all that are no
    parameters. A graph in which nothing but views is computed of parameters gives a g without outputs.
    """
    known = constant_values(graph, parameters)
    wanted: dict[Value, None] = {}  # computed constants that the rest reads
    views: set[Value] = set()  # of the parameters, of those or of numbers, made where they are read
    readers = [v for node in graph.nodes if not _constant(node, known) for v in node.operands]
    for value in (*readers, *graph.outputs):
        while value in known and (node := graph.producer.get(value)) is not None:
            if node.operands and OPS[node.op].view is None:
                wanted[value] = None
                break
            views.add(value)
            if not node.operands:
                break
            value = node.operands[0]
    order = {value: i for i, value in enumerate(v for node in graph.nodes for v in node.results)}
    cut = tuple(sorted(wanted, key=lambda value: (value.type.dtype, order[value])))  # one arena a dtype
    prepare = remove_dead(Graph(f"{graph.name}_prepare", graph.inputs, graph.nodes, cut))
    read = {v for node in prepare.nodes for v in node.operands}
    prepare = Graph(prepare.name, tuple(v for v in graph.inputs if v in read), prepare.nodes, prepare.outputs)
    return prepare, _rest(graph, parameters, known, views, cut)


def _constant(node: Node, known: frozenset[Value]) -> bool:
    return all(value in known for value in node.results)


def _rest(
    graph: Graph, parameters: Collection[str], known: frozenset[Value], views: set[Value], cut: tuple[Value, ...]
) -> Graph:
    kept = [node for node in graph.nodes if not _constant(node, known) or node.results[0] in views]
    read = {v for node in kept for v in node.operands} | set(graph.outputs)
    out = Rewriter(graph.name)
    for value in graph.inputs:
        if value in read or value.name not in parameters:
            out.input(value.name, value.type)
    for i, value in enumerate(cut):
        out.replace(value, out.input(f"{PREPARED}{i}", value.type))
    for node in kept:
        out.keep(node)
    return out.finish(graph.outputs)
