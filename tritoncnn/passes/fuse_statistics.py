"""FuseStatistics: a convolution finds the mean and variance of its own result."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Pattern, Rewriter, Value, match, rewrite
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count

NORMALISED = Pattern(("standardize",), (Pattern(("conv2d",)),))


@dataclass(frozen=True)
class FuseStatistics(Pass):
    """%1 = conv2d(x, w);  %2, %3, %4 = standardize(%1) {dims=[0,2,3]}
       =>   %1, %3, %4 = conv2d(x, w) {statistics=true};  %2 = (%1 - %3) / sqrt(%4 + eps)

    When   the convolution is not depthwise and standardize takes all pixels of all samples, without groups: training batch
           norm. Two reads of %1 less.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        norms = {node.results[0]: above for node in graph.nodes if (above := _match(graph, node))}
        chosen = {above.result for above in norms.values()}
        found: dict[Value, tuple[Value, Value]] = {}  # a convolution's result -> mean, variance

        def visit(out: Rewriter, node: Node) -> bool:
            if node.results[0] in chosen:
                operands = tuple(out.value(v) for v in node.operands)
                attrs = {**node.attrs, "statistics": True}
                types = OPS["conv2d"].infer(*(v.type for v in operands), **attrs)
                assert isinstance(types, tuple)
                y, mean, var = out.add(node.op, operands, types, attrs, node.source)
                out.replace(node.result, y)
                found[node.result] = mean, var
                return True
            above = norms.get(node.results[0])
            if above is None:
                return False
            out.source = node.source
            kept = node.results[1].type.shape
            mean, var = (OPS["reshape"](Sym(out, v), shape=kept) for v in found[above.result])
            y = (Sym(out, out.value(above.result)) - mean) * OPS["rsqrt"](var + node.attrs["eps"])
            for old, new in zip(node.results, (y, mean, var), strict=True):
                out.replace(old, new.value)
            return True

        note = f"fused the statistics of {count(len(chosen), 'convolution')} into its kernel"
        return rewrite(graph, visit), note if chosen else ""


def _match(graph: Graph, node: Node) -> Node | None:
    if match(graph, node, NORMALISED) is None or node.attrs.get("groups"):
        return None
    x = node.operands[0]
    above = graph.producer.get(x)
    if above is None or len(above.results) > 1 or x.type.dtype != "f32" or not x.type.numel:
        return None
    depthwise = above.attrs.get("groups", 1) == above.operands[0].type.shape[1] > 1
    return above if node.attrs["dims"] == (0, *range(2, x.type.rank)) and not depthwise else None
