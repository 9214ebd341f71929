"""FuseEpilogue: pointwise work on a kernel's result moves into the kernel, before its store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tritoncnn.ir import ACC, Expr, Graph, Node, Rewriter, Value, arg, rewrite
from tritoncnn.ops import OPS
from tritoncnn.passes.define import Pass, count
from tritoncnn.passes.fuse_pointwise import MAX_OPERANDS, expression_of


@dataclass(frozen=True)
class FuseEpilogue(Pass):
    """%1 = conv2d(x, w);  %2 = pointwise(%1, b) {expr='relu(add($0, $1))'}
       =>   %2 = conv2d(x, w, b) {epilogue='relu(add(acc, $0))'}

    When   the op's kernel has an epilogue slot, %1 has no other reader, and %2 has its shape and dtype. Further results of
           the op, such as a norm's mean, must not be read before %2 or by it.
    The fused node stands where the pointwise node stood, where all operands are known.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        fused: dict[Value, Node] = {}  # pointwise result -> the node above that it joins
        gone: set[Value] = set()
        position = {value: i for i, node in enumerate(graph.nodes) for value in node.results}
        for node in graph.nodes:
            above = _template(graph, node, gone, position)
            if above is not None:
                fused[node.result] = above
                gone.add(above.results[0])

        def visit(out: Rewriter, node: Node) -> bool:
            if node.results[0] in gone:
                return True
            above = fused.get(node.results[0])
            if above is None:
                return False
            extra = tuple(v for v in node.operands if v != above.results[0])
            table = {
                arg(i): Expr(ACC) if v == above.results[0] else arg(extra.index(v)) for i, v in enumerate(node.operands)
            }
            operands = tuple(out.value(v) for v in (*above.operands, *extra))
            attrs = {**above.attrs, "epilogue": str(expression_of(node).substitute(table))}
            types = (node.result.type, *(v.type for v in above.results[1:]))
            made = out.add(above.op, operands, types, attrs, above.source or node.source)
            for old, new in zip((node.result, *above.results[1:]), made, strict=True):
                out.replace(old, new)
            return True

        note = f"fused {count(len(fused), 'pointwise pass', 'pointwise passes')} into the kernel before it"
        return rewrite(graph, visit), note if fused else ""


def _template(graph: Graph, node: Node, taken: set[Value], position: Mapping[Value, int]) -> Node | None:
    """The latest node whose result this pointwise node may join."""
    if not OPS[node.op].expression or len(node.operands) > MAX_OPERANDS:
        return None
    joinable = [v for v in node.operands if v not in taken and _joinable(graph, v, node, position)]
    return graph.producer[max(joinable, key=position.__getitem__)] if joinable else None


def _joinable(graph: Graph, value: Value, node: Node, position: Mapping[Value, int]) -> bool:
    above = graph.producer.get(value)
    if above is None or not OPS[above.op].epilogue or "epilogue" in above.attrs or value != above.results[0]:
        return False
    readers = (reader for other in above.results[1:] for reader in graph.users.get(other, ()))
    if any(position[reader.results[0]] <= position[node.result] for reader in readers):
        return False
    same = value.type.shape == node.result.type.shape and value.type.dtype == node.result.type.dtype
    return same and graph.only_user(value) is node
