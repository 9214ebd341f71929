"""FusePool: a convolution pools its own result before the store."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Join, Node, Pattern, match, merge
from tritoncnn.passes.define import Pass, count

POOLED = Pattern(("max_pool2d",), (Pattern(("conv2d",), name="conv", alone=True),))
TAPS = (2, 4)  # the taps of a pooled pixel lie in one tile, whose rows are a power of two


@dataclass(frozen=True)
class FusePool(Pass):
    """%1 = conv2d(x, w) {...};  %2, %3 = max_pool2d(%1) {window=[2,2], stride=[2,2]}
       =>   %2, %3 = conv2d(x, w) {..., pool=[2,2]}

    When   windows neither overlap nor hang over the edge, P and Q are multiples of the window, %1 has no other reader, and the
    pooling has no epilogue: in the convolution's kernel it comes last.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        found = [(node, above) for node in graph.nodes if (above := _match(graph, node))]
        joins = [Join(node, above, _with_pool(graph, above, node)) for node, above in found]
        note = f"fused {count(len(joins), 'pooling')} into the convolution before it"
        return merge(graph, joins), note if joins else ""


def _with_pool(graph: Graph, above: Node, node: Node) -> Node:
    index = any(v in graph.users or v in graph.outputs for v in node.results[1:])
    attrs = {**above.attrs, "pool": node.attrs["window"], "index": index}
    return Node(above.op, above.operands, node.results if index else node.results[:1], attrs, above.source)


def _match(graph: Graph, node: Node) -> Node | None:
    found = match(graph, node, POOLED)
    if found is None:
        return None
    above = found.nodes["conv"]
    window = node.attrs["window"]
    plain = node.attrs["stride"] == window and node.attrs["padding"] == (0, 0) and node.attrs["dilation"] == (1, 1)
    if not plain or "pool" in above.attrs or "epilogue" in node.attrs:
        return None
    if above.attrs["groups"] > 1:  # depthwise kernels do not pool
        return None
    _, _, P, Q = node.operands[0].type.shape
    fits = P % window[0] == 0 and Q % window[1] == 0 and window[0] * window[1] in TAPS
    return above if fits else None
