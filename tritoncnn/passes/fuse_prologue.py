"""FusePrologue: pointwise work on the picture of a convolution with one tap moves into its loads."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import ACC, Expr, Graph, Node, Rewriter, Value, arg, rewrite
from tritoncnn.ops import OPS
from tritoncnn.passes.define import Pass, count
from tritoncnn.passes.fuse_pointwise import MAX_OPERANDS, expression_of

MOST_FILTERS = 256  # few blocks of filters: each makes the work again
LARGER = (
    8  # so many times more elements than the filters have: such a picture's convolution takes wide blocks of filters
)


@dataclass(frozen=True)
class FusePrologue(Pass):
    """%1 = pointwise(x, s, t) {expr='relu(add(mul($0, $1), $2))'};  %2 = conv2d(%1, w)
       =>   %2 = conv2d(x, w, s, t) {prologue='relu(add(mul(acc, $0), $1))'}

    When   filters have one tap and nothing is padded, and the picture is large, so that little is computed twice; %1 has no
           other reader; x has the shape and dtype of %1. After FuseEpilogue: what can be done before a store is done there.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        fused: dict[Value, tuple[Node, Value]] = {}  # convolution's result -> the pointwise node, its x
        for node in graph.nodes:
            if OPS[node.op].prologue and _fits(node) and (found := _above(graph, node)):
                fused[node.results[0]] = found
        gone = {above.result for above, _ in fused.values()}

        def visit(out: Rewriter, node: Node) -> bool:
            if node.results[0] in gone:
                return True
            if node.results[0] not in fused:
                return False
            above, x = fused[node.results[0]]
            given = node.operands[2:]  # of an epilogue
            extra = (*given, *(v for v in dict.fromkeys(above.operands) if v not in given and v != x))
            table = {arg(i): Expr(ACC) if v == x else arg(extra.index(v)) for i, v in enumerate(above.operands)}
            operands = tuple(out.value(v) for v in (x, node.operands[1], *extra))
            attrs = {**node.attrs, "prologue": str(expression_of(above).substitute(table))}
            made = out.add(node.op, operands, tuple(v.type for v in node.results), attrs, node.source)
            for old, new in zip(node.results, made, strict=True):
                out.replace(old, new)
            return True

        note = f"fused {count(len(fused), 'pointwise pass', 'pointwise passes')} into the loads of the kernel behind it"
        return rewrite(graph, visit), note if fused else ""


def _fits(node: Node) -> bool:
    filters = node.operands[1].type.shape
    one_tap = all(taps == 1 for taps in filters[2:]) and not any(node.attrs["padding"])  # type: ignore[arg-type]
    picture, weight = (v.type.numel for v in node.operands[:2])
    large = filters[0] <= MOST_FILTERS and picture >= LARGER * weight
    return one_tap and large and filters[1] > 1 and "prologue" not in node.attrs


def _above(graph: Graph, node: Node) -> tuple[Node, Value] | None:
    """The pointwise node that makes the picture, and which of its operands is the kernel's x."""
    picture = node.operands[0]
    above = graph.producer.get(picture)
    if (
        above is None
        or not OPS[above.op].expression
        or graph.only_user(picture) is not node
        or picture in node.operands[1:]
    ):
        return None
    same = [v for v in above.operands if v.type.shape == picture.type.shape and v.type.dtype == picture.type.dtype]
    few = len(above.operands) + len(node.operands) - 2 <= MAX_OPERANDS
    return (above, same[0]) if same and few else None
