"""FuseSums: two sums over the same dims that read a tensor of that size read it together."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Join, Node, Value, arg, merge, parse_expr, place_after
from tritoncnn.ops import OPS
from tritoncnn.ops.define import broadcast_shape
from tritoncnn.passes.define import Pass, count
from tritoncnn.passes.fuse_pointwise import MAX_OPERANDS


@dataclass(frozen=True)
class FuseSums(Pass):
    """%1 = sum(dy) {dims=[0]};  %2 = sum(dy, y) {dims=[0], expr='mul($0, $1)'}
       =>   %1, %2 = sum(dy, y) {dims=[0], expr='$0', also='mul($0, $1)'}

    When   neither follows from the other, and one operand of the full size is read by both: the gradients of a norm's weight
           and bias. In f32.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        graph = place_after(graph, {second.result: first.result for first, second in _pairs(graph)})
        pairs = [(first, second) for first, second in _pairs(graph) if _read_later(graph, first, second)]
        joins = [Join(second, first, _both(first, second)) for first, second in pairs]
        note = f"{count(len(joins), 'pair')} of sums read their operands together"
        return merge(graph, joins), note if joins else ""


def _pairs(graph: Graph) -> list[tuple[Node, Node]]:
    """(a sum, a later one that joins it), each sum in one pair at most."""
    found: list[tuple[Node, Node]] = []
    waiting: dict[tuple[object, ...], Node] = {}  # by dims and a large operand
    for node in graph.nodes:
        if OPS[node.op].reduces != "sum" or "also" in node.attrs or node.result.type.dtype != "f32":
            continue
        keys = [(node.op, node.attrs["dims"], _shape(node), value) for value in _large(node)]
        first = next((waiting[key] for key in keys if key in waiting), None)
        if first is not None and len({*first.operands, *node.operands}) <= MAX_OPERANDS:
            found.append((first, node))
            waiting = {key: other for key, other in waiting.items() if other is not first}
        else:
            waiting |= dict.fromkeys(keys, node)
    return found


def _read_later(graph: Graph, first: Node, second: Node) -> bool:
    """Is the first sum read after the second one only?"""
    readers = graph.users.get(first.result, ())
    return all(graph.position[reader.results[0]] > graph.position[second.result] for reader in readers)


def _shape(node: Node) -> tuple[int, ...]:
    """The shape of what is summed."""
    return broadcast_shape(*(v.type.shape for v in node.operands))


def _large(node: Node) -> list[Value]:
    """The operands that have the shape of what is summed."""
    return [v for v in node.operands if v.type.shape == _shape(node)]


def _both(first: Node, second: Node) -> Node:
    operands = tuple(dict.fromkeys((*first.operands, *second.operands)))

    def text(node: Node) -> str:
        places = {arg(i): arg(operands.index(v)) for i, v in enumerate(node.operands)}
        return str(parse_expr(str(node.attrs.get("expr", "$0"))).substitute(places))

    attrs = {"dims": first.attrs["dims"], "expr": text(first), "also": text(second)}
    return Node(first.op, operands, (first.result, second.result), attrs, second.source)
