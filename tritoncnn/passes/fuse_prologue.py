"""FusePrologue: pointwise work on the picture of a convolution with one tap moves into its loads."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import ACC, Expr, Graph, Join, Node, Pattern, Value, arg, match, merge
from tritoncnn.ops import OPS
from tritoncnn.passes.define import Pass, count, is_pointwise
from tritoncnn.passes.fuse_pointwise import MAX_OPERANDS, expression_of

MOST_FILTERS = 256  # few blocks of filters: each makes the work again
LARGER = 8  # the picture has so many times more elements than the filters: its convolution takes wide blocks of filters
FUSED = Pattern(
    lambda node: OPS[node.op].prologue and "prologue" not in node.attrs and _small_filters(node),
    (Pattern(is_pointwise, name="above", alone=True),),
)


@dataclass(frozen=True)
class FusePrologue(Pass):
    """%1 = pointwise(x, s, t) {expr='relu(add(mul($0, $1), $2))'};  %2 = conv2d(%1, w)
       =>   %2 = conv2d(x, w, s, t) {prologue='relu(add(mul(acc, $0), $1))'}

    When   filters have one tap and nothing is padded, and the picture is large, so that little is computed twice; %1 has no
           other reader; x has the shape and dtype of %1. After FuseEpilogue: what can be done before a store is done there.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        joins = []
        for node in graph.nodes:
            found = match(graph, node, FUSED)
            above = found.nodes["above"] if found else None
            x = _picture(above, node) if above else None
            if above and x:
                joins.append(Join(node, above, _with_prologue(above, node, x)))
        note = f"fused {count(len(joins), 'pointwise pass', 'pointwise passes')} into the loads of the kernel behind it"
        return merge(graph, joins), note if joins else ""


def _small_filters(node: Node) -> bool:
    filters = node.operands[1].type.shape
    one_tap = all(taps == 1 for taps in filters[2:]) and not any(node.attrs["padding"])
    picture, weight = (v.type.numel for v in node.operands[:2])
    return one_tap and filters[1] > 1 and filters[0] <= MOST_FILTERS and picture >= LARGER * weight


def _picture(above: Node, node: Node) -> Value | None:
    """Which operand of the pointwise node the kernel can load as its picture."""
    made = above.result
    same = [v for v in above.operands if v.type.shape == made.type.shape and v.type.dtype == made.type.dtype]
    few = len(above.operands) + len(node.operands) - 2 <= MAX_OPERANDS
    return same[0] if same and few and made not in node.operands[1:] else None


def _with_prologue(above: Node, node: Node, x: Value) -> Node:
    given = node.operands[2:]  # of an epilogue
    extra = (*given, *(v for v in dict.fromkeys(above.operands) if v not in given and v != x))
    table = {arg(i): Expr(ACC) if v == x else arg(extra.index(v)) for i, v in enumerate(above.operands)}
    attrs = {**node.attrs, "prologue": str(expression_of(above).substitute(table))}
    return Node(node.op, (x, node.operands[1], *extra), node.results, attrs, node.source)
