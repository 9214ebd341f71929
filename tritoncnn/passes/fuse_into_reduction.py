"""FuseIntoReduction: pointwise work on what is summed moves into the sum, and no tensor of that size is written."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Rewriter, Value, rewrite
from tritoncnn.ops import OPS
from tritoncnn.passes.define import Pass, count


@dataclass(frozen=True)
class FuseIntoReduction(Pass):
    """%1 = pointwise(a, b) {expr='mul($0, $1)'};  %2 = sum(%1) {dims=[0]}
       =>   %2 = sum(a, b) {dims=[0], expr='mul($0, $1)'}
    and the same for mean and amax

    When   %1 has no other reader.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        fused: dict[Value, Node] = {}  # sum's result -> the pointwise node it takes in
        for node in graph.nodes:
            if OPS[node.op].reduces and "expr" not in node.attrs:
                above = graph.producer.get(node.operands[0])
                if above is not None and OPS[above.op].expression and graph.only_user(above.result) is node:
                    fused[node.result] = above
        gone = {above.result for above in fused.values()}

        def visit(out: Rewriter, node: Node) -> bool:
            if node.results[0] in gone:
                return True
            above = fused.get(node.results[0])
            if above is None:
                return False
            operands = tuple(out.value(v) for v in above.operands)
            attrs = {**node.attrs, "expr": above.attrs["expr"]}
            (new,) = out.add(node.op, operands, (node.result.type,), attrs, above.source or node.source)
            out.replace(node.result, new)
            return True

        note = f"fused {count(len(fused), 'pointwise pass', 'pointwise passes')} into the reduction of the result"
        return rewrite(graph, visit), note if fused else ""
