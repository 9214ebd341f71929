"""FuseEpilogue: pointwise work on a kernel's result moves into the kernel, before its store."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import ACC, Expr, Graph, Join, Node, Pattern, arg, matches, merge
from tritoncnn.ops import OPS
from tritoncnn.passes.define import Pass, count, is_pointwise
from tritoncnn.passes.fuse_pointwise import MAX_OPERANDS, expression_of


def _has_slot(node: Node) -> bool:
    return OPS[node.op].epilogue and "epilogue" not in node.attrs


FUSED = Pattern(
    lambda node: is_pointwise(node) and len(node.operands) <= MAX_OPERANDS,
    some=Pattern(_has_slot, name="kernel", alone=True, like=True),
)


@dataclass(frozen=True)
class FuseEpilogue(Pass):
    """%1 = conv2d(x, w);  %2 = pointwise(%1, b) {expr='relu(add($0, $1))'}
       =>   %2 = conv2d(x, w, b) {epilogue='relu(add(acc, $0))'}

    When   the op's kernel has an epilogue slot, %1 has no other reader, and %2 has its shape and dtype. Further results of
           the op, such as a norm's mean, must not be read before %2 or by it.
    The fused node stands where the pointwise node stood, where all operands are known.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        joins = [
            Join(node, above, _with_epilogue(above, node)) for node in graph.nodes if (above := _above(graph, node))
        ]
        note = f"fused {count(len(joins), 'pointwise pass', 'pointwise passes')} into the kernel before it"
        return merge(graph, joins), note if joins else ""


def _above(graph: Graph, node: Node) -> Node | None:
    """The latest node whose result this pointwise node may join."""
    found = (match.nodes["kernel"] for match in matches(graph, node, FUSED))
    return next((above for above in found if _unread(graph, above, node)), None)


def _unread(graph: Graph, above: Node, node: Node) -> bool:
    """Are the further results of ``above`` read after ``node`` only?"""
    readers = (reader for value in above.results[1:] for reader in graph.users.get(value, ()))
    return all(graph.position[reader.results[0]] > graph.position[node.result] for reader in readers)


def _with_epilogue(above: Node, node: Node) -> Node:
    acc = above.results[0]
    extra = tuple(v for v in node.operands if v != acc)
    table = {arg(i): Expr(ACC) if v == acc else arg(extra.index(v)) for i, v in enumerate(node.operands)}
    attrs = {**above.attrs, "epilogue": str(expression_of(node).substitute(table))}
    return Node(
        above.op, (*above.operands, *extra), (node.result, *above.results[1:]), attrs, above.source or node.source
    )
