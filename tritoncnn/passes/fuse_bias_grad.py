"""FuseBiasGrad: the filter gradient reads dy anyway, so it sums it too."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Join, Node, Value, merge, place_after
from tritoncnn.ops import OPS
from tritoncnn.passes.define import Pass, count


@dataclass(frozen=True)
class FuseBiasGrad(Pass):
    """%1 = sum(dy) {dims=[0,2,3]};  %2 = conv2d_wgrad(x, dy)   =>   %2, %1 = conv2d_wgrad(x, dy) {bias=True}
    %1 = sum(dy) {dims=[0]};      %2 = matmul(a, dy)         =>   %2, %1 = matmul(a, dy) {sums=True}
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        graph = place_after(graph, {total.result: node.result for node, total in _pairs(graph)})
        pairs = [(node, total) for node, total in _pairs(graph) if _next(graph, node) is total]
        joins = [Join(node, total, _with_sum(node, total)) for node, total in pairs]
        note = f"{count(len(joins), 'bias gradient')} summed in the weight gradient's kernel"
        return merge(graph, joins), note if joins else ""


def _with_sum(node: Node, total: Node) -> Node:
    side = _side_sum(node)
    assert side is not None
    return Node(node.op, node.operands, (node.result, total.result), {**node.attrs, side[0]: True}, node.source)


def _side_sum(node: Node) -> tuple[str, tuple[int, ...]] | None:
    """(attribute, dims) of the sum over the second operand that the node's kernel can take along."""
    side = OPS[node.op].side_sum
    return side(tuple(v.type for v in node.operands)) if side else None


def _total(graph: Graph, node: Node) -> Node | None:
    """That sum, where there is one."""
    side = _side_sum(node)
    if side is None or node.attrs.get(side[0]) or "epilogue" in node.attrs:
        return None
    users = graph.users[node.operands[1]]
    return next((u for u in users if OPS[u.op].reduces == "sum" and u.attrs["dims"] == side[1]), None)


def _pairs(graph: Graph) -> list[tuple[Node, Node]]:
    """(product, the sum that joins it), each sum once."""
    found: dict[Value, tuple[Node, Node]] = {}
    for node in graph.nodes:
        total = _total(graph, node)
        if total is not None:
            found.setdefault(total.result, (node, total))
    return list(found.values())


def _next(graph: Graph, node: Node) -> Node | None:
    position = next(i for i, other in enumerate(graph.nodes) if other is node)
    return graph.nodes[position + 1] if position + 1 < len(graph.nodes) else None
