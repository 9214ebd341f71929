"""RecomputeSmall: a value that is small beside what is computed from it is computed again by each reader."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Rewriter, Value, rewrite
from tritoncnn.ops import OPS, Sym
from tritoncnn.ops.define import inplace_of
from tritoncnn.passes.define import Pass, count, is_epilogue, is_small_beside, root
from tritoncnn.passes.fuse_pointwise import MAX_WORDS
from tritoncnn.passes.recompute_light import SMALL


@dataclass(frozen=True)
class RecomputeSmall(Pass):
    """%1 = rsqrt(var);  %2 = reshape(%1) {shape=[3,1]};  %3 = mul(x, %2);  %4 = add(y, %2)
       =>   %3 and %4 read copies of rsqrt(reshape(var)), which fuse with them: one launch less, and no memory

    When   %1 is pointwise and all that read it, through reshapes and other such values, make much more than it has; no
    operand of it is overwritten before they read it. Operands of another shape are single numbers. Of a long chain the last
    MAX_WORDS.
    Not    where %1 follows from a product alone, or from another kernel with an epilogue slot, which then computes it once.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        small = _small(graph)
        made = sum(bool(OPS[graph.producer[value].op].triton) for value in small)
        views: dict[tuple[Value, tuple[int, ...]], Sym] = {}  # of the new graph: a value in another shape

        def in_shape(out: Rewriter, value: Value, shape: tuple[int, ...]) -> Sym:
            if value.type.shape == shape:
                return Sym(out, value)
            if (value, shape) not in views:
                views[value, shape] = OPS["reshape"](Sym(out, value), shape=shape)
            return views[value, shape]

        def again(out: Rewriter, value: Value, shape: tuple[int, ...]) -> Sym:
            """The value in another shape of the same elements."""
            node = graph.producer.get(value)
            if value not in small or node is None:
                return in_shape(out, out.value(value), shape)
            if OPS[node.op].reshapes:
                return again(out, node.operands[0], shape)
            parts = (again(out, v, shape if v.type.shape == value.type.shape else v.type.shape) for v in node.operands)
            return OPS[node.op](*parts, **node.attrs)  # type: ignore[no-any-return]

        def visit(out: Rewriter, node: Node) -> bool:
            if node.results[0] in small:
                return True
            out.source = node.source
            if OPS[node.op].reshapes:
                out.replace(node.result, in_shape(out, out.value(node.operands[0]), node.result.type.shape).value)
                return True
            own = {v: again(out, v, v.type.shape).value for v in dict.fromkeys(node.operands) if v in small}
            if own:
                out.keep(node, operands=tuple(own.get(v) or out.value(v) for v in node.operands))
            return bool(own)

        return rewrite(graph, visit), f"{count(made, 'small value')} computed by each reader" if made else ""


def _small(graph: Graph) -> set[Value]:
    """The values that need not be kept, reshapes of them among these."""
    overwritten: dict[Value, int] = {}  # what an op in place overwrites, and when
    for position, node in enumerate(graph.nodes):
        for _, operand in inplace_of(node):
            overwritten.setdefault(root(graph, node.operands[operand]), position)
    last: dict[Value, int] = {}  # a small value -> where it is read at the latest
    chain: dict[Value, int] = {}  # a small value -> how many of them, one after the other, a reader computes
    for node in reversed(graph.nodes):
        op, value = OPS[node.op], node.results[0]
        if value in graph.outputs or not 0 < value.type.numel <= SMALL or not (op.triton or op.reshapes):
            continue
        if is_epilogue(graph, value):
            continue
        users = graph.users.get(value, ())
        end = max((last.get(user.results[0], graph.position[user.results[0]]) for user in users), default=0)
        one_shape = op.reshapes or all(v.type.shape in (value.type.shape, ()) for v in node.operands)
        steady = all(end < overwritten.get(root(graph, v), end + 1) for v in node.operands)
        length = 1 + max((chain.get(user.results[0], 0) for user in users), default=0)
        if (
            length <= MAX_WORDS
            and one_shape
            and steady
            and all(user.results[0] in last or _wide(user, value) for user in users)
        ):
            last[value], chain[value] = end, length
    return set(last)


def _wide(user: Node, value: Value) -> bool:
    return bool(OPS[user.op].triton) and is_small_beside(value, user.results[0])
