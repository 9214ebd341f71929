"""FuseBiasGrad: the filter gradient reads dy anyway, so it sums it too."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Rewriter, TensorType, rewrite
from tritoncnn.passes.define import Pass, count


@dataclass(frozen=True)
class FuseBiasGrad(Pass):
    """%1 = sum(dy) {dims=[0,2,3]};  %2 = conv2d_wgrad(x, dy)   =>   %2, %1 = conv2d_wgrad(x, dy) {bias=True}"""

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        pairs: dict[Node, Node] = {}  # wgrad -> sum
        for node in graph.nodes:
            if node.op == "conv2d_wgrad" and not node.attrs.get("bias"):
                readers = graph.users[node.operands[1]]
                total = next((user for user in readers if user.op == "sum" and user.attrs["dims"] == (0, 2, 3)), None)
                if total is not None and total not in pairs.values():
                    pairs[node] = total
        first = {total: wgrad for wgrad, total in pairs.items()}
        done: set[Node] = set()

        def visit(out: Rewriter, node: Node) -> bool:
            wgrad = node if node in pairs else first.get(node)
            if wgrad is None:
                return False
            if wgrad in done:
                return True
            done.add(wgrad)
            x, dy = (out.value(v) for v in wgrad.operands)  # both exist: dy does, and x is older than dy
            types = (wgrad.result.type, TensorType.dense(dy.type.dtype, (dy.type.shape[1],)))
            dw, db = out.add("conv2d_wgrad", (x, dy), types, {**wgrad.attrs, "bias": True}, wgrad.source)
            out.replace(wgrad.result, dw)
            out.replace(pairs[wgrad].result, db)
            return True

        note = f"{count(len(pairs), 'bias gradient')} summed in the filter gradient's kernel"
        return rewrite(graph, visit), note if pairs else ""
