"""FusePool: a convolution pools its own result before the store."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Pattern, Rewriter, Value, match, rewrite
from tritoncnn.passes.define import Pass, count

POOLED = Pattern(("max_pool2d",), (Pattern(("conv2d",), alone=True),))
TAPS = (2, 4)  # the taps of a pooled pixel lie in one tile, whose rows are a power of two


@dataclass(frozen=True)
class FusePool(Pass):
    """%1 = conv2d(x, w) {...};  %2, %3 = max_pool2d(%1) {window=[2,2], stride=[2,2]}
       =>   %2, %3 = conv2d(x, w) {..., pool=[2,2]}

    When   windows neither overlap nor hang over the edge, P and Q are multiples of the window, and %1 has no other reader.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        pools = {node.results[0]: above for node in graph.nodes if (above := _match(graph, node))}
        gone = {above.result for above in pools.values()}

        def visit(out: Rewriter, node: Node) -> bool:
            if node.results[0] in gone:
                return True
            above = pools.get(node.results[0])
            if above is None:
                return False
            index = any(v in graph.users or v in graph.outputs for v in node.results[1:])
            attrs = {**above.attrs, "pool": node.attrs["window"], "index": index}
            kept: tuple[Value, ...] = node.results if index else node.results[:1]
            operands = tuple(out.value(v) for v in above.operands)
            new = out.add(above.op, operands, tuple(v.type for v in kept), attrs, above.source)
            for old, value in zip(kept, new, strict=True):
                out.replace(old, value)
            return True

        note = f"fused {count(len(pools), 'pooling')} into the convolution before it"
        return rewrite(graph, visit), note if pools else ""


def _match(graph: Graph, node: Node) -> Node | None:
    if match(graph, node, POOLED) is None:
        return None
    window = node.attrs["window"]
    plain = node.attrs["stride"] == window and node.attrs["padding"] == (0, 0) and node.attrs["dilation"] == (1, 1)
    above = graph.producer.get(node.operands[0])
    if not plain or above is None or "pool" in above.attrs:
        return None
    if above.attrs["groups"] > 1:  # depthwise kernels do not pool
        return None
    _, _, P, Q = node.operands[0].type.shape
    fits = P % window[0] == 0 and Q % window[1] == 0 and window[0] * window[1] in TAPS
    return above if fits else None
