"""FuseIntoReduction: pointwise work on what is summed moves into the sum, and no tensor of that size is written."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Join, Node, Pattern, match, merge
from tritoncnn.ops import OPS
from tritoncnn.passes.define import Pass, count, is_pointwise

FUSED = Pattern(
    lambda node: bool(OPS[node.op].reduces) and "expr" not in node.attrs,
    (Pattern(is_pointwise, name="above", alone=True),),
)


@dataclass(frozen=True)
class FuseIntoReduction(Pass):
    """%1 = pointwise(a, b) {expr='mul($0, $1)'};  %2 = sum(%1) {dims=[0]}
       =>   %2 = sum(a, b) {dims=[0], expr='mul($0, $1)'}
    and the same for mean and amax

    When   %1 has no other reader.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        found = [(node, m.nodes["above"]) for node in graph.nodes if (m := match(graph, node, FUSED))]
        joins = [Join(node, above, _with_expression(above, node)) for node, above in found]
        note = f"fused {count(len(joins), 'pointwise pass', 'pointwise passes')} into the reduction of the result"
        return merge(graph, joins), note if joins else ""


def _with_expression(above: Node, node: Node) -> Node:
    attrs = {**node.attrs, "expr": above.attrs["expr"]}
    return Node(node.op, above.operands, node.results, attrs, above.source or node.source)
