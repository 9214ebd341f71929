"""FlattenIntoMatmul: a flatten in memory order, paid for by the order in which the weight is stored."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Rewriter, TensorType, Value
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count


@dataclass(frozen=True)
class FlattenIntoMatmul(Pass):
    """matmul(reshape(x: [N,C,H,W], [N,CHW]), permute(w: [O,CHW]))
       =>   matmul(reshape(permute(x, [N,H,W,C]), [N,HWC]), reshape(permute(w: [O,C,H,W], [H,W,C,O]), [HWC,O]))

    When   x is 4-D with C > 1 and H*W > 1 (activations lie channels-last, so the left flatten would be a copy),
           and w is an input that nothing else reads.
    With   the input w redeclared as [O,C,H,W], the same elements in the same row-major order; stored R,S,C,K like a
           filter, both flattens are views. The sum runs over the same terms in another order.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        found = {node.result: match for node in graph.nodes if (match := _match(graph, node))}
        if not found:
            return graph, ""
        split = {w: (w.type.shape[0], *x.type.shape[1:]) for x, w in found.values()}
        out = Rewriter(graph.name)
        for value in graph.inputs:
            shape = split.get(value, value.type.shape)
            out.replace(value, out.input(value.name, TensorType.dense(value.type.dtype, shape)))
        for node in graph.nodes:
            if node.results[0] not in found:
                if node.operands[:1] and node.operands[0] in split:
                    continue  # the permute of w: the matmul was its only reader
                out.keep(node)
                continue
            x, w = found[node.results[0]]
            out.source = node.source
            out.replace(node.result, _matmul(out, out.value(x), out.value(w)))
        note = f"stored {count(len(found), 'weight')} in the memory order of the flattened input"
        return out.finish(graph.outputs), note


def _match(graph: Graph, node: Node) -> tuple[Value, Value] | None:
    """(x, w) of a matmul that fits the picture."""
    if node.op != "matmul":
        return None
    flat, turned = (graph.producer.get(v) for v in node.operands)
    if flat is None or flat.op != "reshape" or turned is None or turned.op != "permute":
        return None
    x, w = flat.operands[0], turned.operands[0]
    if (
        x.type.rank != 4
        or (flat.result.type.rank, w.type.rank) != (2, 2)
        or x.type.shape[0] != flat.result.type.shape[0]
    ):
        return None
    _, C, H, W = x.type.shape
    if C == 1 or H * W == 1 or w not in graph.inputs or graph.only_user(w) is not turned:
        return None
    return (x, w) if graph.only_user(turned.result) is node else None


def _matmul(out: Rewriter, x: Value, w: Value) -> Value:
    N, C, H, W = x.type.shape
    rows = OPS["reshape"](OPS["permute"](Sym(out, x), dims=(0, 2, 3, 1)), shape=(N, H * W * C))
    columns = OPS["reshape"](OPS["permute"](Sym(out, w), dims=(2, 3, 1, 0)), shape=(H * W * C, w.type.shape[0]))
    return OPS["matmul"](rows, columns).value
