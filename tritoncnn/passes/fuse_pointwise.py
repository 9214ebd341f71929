"""FusePointwise: chains of pointwise ops become one pass over memory."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Expr, Graph, Node, Rewriter, Value, arg, constant, parse_expr, remove_dead, rewrite
from tritoncnn.ops import OPS
from tritoncnn.passes.define import Pass, count

MAX_OPERANDS = 8  # pointers a fused kernel reads; beyond this loads outgrow registers
MAX_SIZE = 48  # words of one expression


@dataclass(frozen=True)
class FusePointwise(Pass):
    """%1 = mul(a, b);  %2 = relu(%1)   =>   %2 = pointwise(a, b) {expr='relu(mul($0, $1))'}

    When   %1 has no other reader and the shape of %2 (else it would be computed more than once).
    Every pointwise op becomes part of a ``pointwise`` node, numbers become part of its text.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        parts = _Parts(graph)
        before = sum(bool(OPS[node.op].triton) for node in graph.nodes)

        def visit(out: Rewriter, node: Node) -> bool:
            if not OPS[node.op].triton:
                return False
            if node.result in parts.inlined:
                return True
            expr, operands = parts.expression(node)
            values = tuple(out.value(v) for v in operands)
            (new,) = out.add("pointwise", values, (node.result.type,), {"expr": str(expr)}, node.source)
            out.replace(node.result, new)
            return True

        after = remove_dead(rewrite(graph, visit))
        made = sum(node.op == "pointwise" for node in after.nodes)
        return after, f"{count(before, 'pointwise op')} in {count(made, 'pass', 'passes')}" if before else ""


class _Parts:
    """Which nodes disappear into their only reader, and the expression of those that stay."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.inlined: set[Value] = set()
        self.made: dict[Value, tuple[Expr, tuple[Value, ...]]] = {}
        for node in graph.nodes:
            if OPS[node.op].triton:
                self.made[node.result] = self._combine(node)

    def expression(self, node: Node) -> tuple[Expr, tuple[Value, ...]]:
        return self.made[node.result]

    def _combine(self, node: Node) -> tuple[Expr, tuple[Value, ...]]:
        """The node's expression with its single-reader producers put in, as far as the limits allow."""
        inline = {v for v in node.operands if self._may_inline(v, node)}
        while True:
            expr, operands = self._build(node, inline)
            if not inline or (len(operands) <= MAX_OPERANDS and expr.size <= MAX_SIZE):
                break
            inline.discard(next(v for v in reversed(node.operands) if v in inline))
        self.inlined |= inline
        return expr, operands

    def _may_inline(self, value: Value, node: Node) -> bool:
        return value in self.made and self.graph.only_user(value) is node and value.type.shape == node.result.type.shape

    def _build(self, node: Node, inline: set[Value]) -> tuple[Expr, tuple[Value, ...]]:
        operands: list[Value] = []

        def leaf(value: Value) -> Expr:
            producer = self.graph.producer.get(value)
            if producer is not None and producer.op == "const":
                return constant(float(producer.attrs["value"]))
            if value not in operands:
                operands.append(value)
            return arg(operands.index(value))

        def tree(value: Value) -> Expr:
            if value not in inline:
                return leaf(value)
            expr, values = self.made[value]
            return expr.substitute({arg(i): leaf(v) for i, v in enumerate(values)})

        expr = Expr(node.op, tuple(tree(v) for v in node.operands))
        return expr, tuple(operands)


def expression_of(node: Node) -> Expr:
    """The tree of a ``pointwise`` node."""
    return parse_expr(str(node.attrs["expr"]))
