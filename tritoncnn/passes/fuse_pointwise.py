"""FusePointwise: chains of pointwise ops become one pass over memory."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Expr, Graph, Node, Rewriter, Value, arg, constant, parse_expr, remove_dead, rewrite
from tritoncnn.ops import OPS
from tritoncnn.passes.define import Pass, count, is_epilogue, is_small_beside

MAX_OPERANDS = 8  # pointers a fused kernel reads; beyond this loads outgrow registers
MAX_WORDS = 48  # different words of one expression
MAX_TEXT = 600  # words of its text, where a word that is used twice stands twice


@dataclass(frozen=True)
class FusePointwise(Pass):
    """%1 = mul(a, b);  %2 = relu(%1)   =>   %2 = pointwise(a, b) {expr='relu(mul($0, $1))'}

    When   all readers of %1 end in %2 and it has the shape of %2, or is small beside it (else it would be computed too often)
           and cannot be some kernel's epilogue.
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
        made = sum(OPS[node.op].expression for node in after.nodes)
        return after, f"{count(before, 'pointwise op')} in {count(made, 'pass', 'passes')}" if before else ""


class _Parts:
    """Which nodes disappear into a later one, and the expression of those that stay."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.inlined: set[Value] = set()
        self.made: dict[Value, tuple[Expr, tuple[Value, ...]]] = {}
        for node in reversed(graph.nodes):
            if OPS[node.op].triton and node.result not in self.inlined:
                self.made[node.result] = self._combine(node)

    def expression(self, node: Node) -> tuple[Expr, tuple[Value, ...]]:
        return self.made[node.result]

    def _combine(self, node: Node) -> tuple[Expr, tuple[Value, ...]]:
        """The node's expression with its producers put in; the earliest stay out as far as the limits ask."""
        cone = self._cone(node)
        for length in range(len(cone), -1, -1):
            inline = set(cone[:length])
            operands, text = self._measure(node, inline)
            words = 1 + len(inline) + len(operands)
            if not inline or (len(operands) <= MAX_OPERANDS and words <= MAX_WORDS and text <= MAX_TEXT):
                break
        self.inlined |= inline
        table = {value: arg(i) for i, value in enumerate(operands)}

        def tree(value: Value) -> Expr:
            if value not in table:
                producer = self.graph.producer[value]
                number = OPS[producer.op].number
                table[value] = constant(number(**producer.attrs)[0]) if number is not None else expr_of(producer)
            return table[value]

        def expr_of(node: Node) -> Expr:
            return Expr(node.op, tuple(tree(v) for v in node.operands))

        return expr_of(node), tuple(operands)

    def _cone(self, node: Node) -> list[Value]:
        """Results of the pointwise nodes that are read by ``node``, or by others of the cone, and by nobody else: the latest
        MAX_WORDS, the latest first."""
        inline: dict[Value, None] = {}
        ready = {v for v in node.operands if v in self.graph.position}
        while ready and len(inline) < MAX_WORDS:
            value = max(ready, key=self.graph.position.__getitem__)  # latest first: its readers are decided
            ready.discard(value)
            producer = self.graph.producer[value]
            readers = self.graph.users.get(value, ())
            if (
                OPS[producer.op].triton
                and value not in self.graph.outputs
                and (value.type.shape == node.result.type.shape or self._again(value, node.result))
                and all(reader is node or reader.results[0] in inline for reader in readers)
            ):
                inline[value] = None
                ready |= {v for v in producer.operands if v in self.graph.position}
        return list(inline)

    def _again(self, value: Value, result: Value) -> bool:
        """Whether a value of another shape had better be computed for each element of the result."""
        return is_small_beside(value, result) and not is_epilogue(self.graph, value)

    def _measure(self, node: Node, inline: set[Value]) -> tuple[list[Value], int]:
        """(operands in the order they are met, words of the text)."""
        operands: list[Value] = []
        sizes: dict[Value, int] = {}

        def size(value: Value) -> int:
            if value not in sizes:
                producer = self.graph.producer.get(value)
                if value in inline and producer is not None:
                    sizes[value] = 1 + sum(size(v) for v in producer.operands)
                else:
                    if producer is None or not _is_number(producer):
                        operands.append(value)
                    sizes[value] = 1
            return sizes[value]

        return operands, 1 + sum(size(v) for v in node.operands)


def _is_number(node: Node) -> bool:
    return OPS[node.op].number is not None and node.result.type.rank == 0


def expression_of(node: Node) -> Expr:
    """The tree of a ``pointwise`` node."""
    return parse_expr(str(node.attrs["expr"]))
