"""FlattenIntoMatmul: a flatten in memory order, paid for by the order in which the weight is stored."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Pattern, Rewriter, Value, match, remove_dead, rewrite
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count

FLATTENED = Pattern(("matmul",), (Pattern(("reshape",), ("x",)), Pattern(("permute",), ("w",))))


@dataclass(frozen=True)
class FlattenIntoMatmul(Pass):
    """matmul(reshape(x: [N,C,H,W], [N,CHW]), permute(w: [O,CHW]))
       =>   matmul(reshape(permute(x, [N,H,W,C]), [N,HWC]), copy(reshape(permute(reshape(w, [O,C,H,W]), [H,W,C,O]), [HWC,O])))

    When   x is 4-D with C > 1 and H*W > 1 (activations lie channels-last, so the left flatten would be a copy),
           and w is one of ``fixed``: its copy is made when it is loaded (``split_constants``).
    With   the same terms in every sum, in another order.
    """

    fixed: frozenset[str] = frozenset()

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        done = 0

        def visit(out: Rewriter, node: Node) -> bool:
            nonlocal done
            found = self._match(graph, node)
            if found is None:
                return False
            out.source = node.source
            out.replace(node.result, _matmul(out, *(out.value(v) for v in found)))
            done += 1
            return True

        after = rewrite(graph, visit)
        note = f"stored {count(done, 'weight')} in the memory order of the flattened input"
        return (remove_dead(after), note) if done else (graph, "")

    def _match(self, graph: Graph, node: Node) -> tuple[Value, Value] | None:
        """(x, w) of a matmul that fits the picture."""
        found = match(graph, node, FLATTENED)
        if found is None:
            return None
        x, w = found.values["x"], found.values["w"]
        flat = node.operands[0].type
        if x.type.rank != 4 or flat.rank != 2 or x.type.shape[0] != flat.shape[0]:
            return None
        _, C, H, W = x.type.shape
        return None if C == 1 or H * W == 1 or w.name not in self.fixed else (x, w)


def _matmul(out: Rewriter, x: Value, w: Value) -> Value:
    N, C, H, W = x.type.shape
    rows = OPS["reshape"](OPS["permute"](Sym(out, x), dims=(0, 2, 3, 1)), shape=(N, H * W * C))
    pixels = OPS["reshape"](Sym(out, w), shape=(w.type.shape[0], C, H, W))
    columns = OPS["reshape"](OPS["permute"](pixels, dims=(2, 3, 1, 0)), shape=(H * W * C, w.type.shape[0]))
    return OPS["matmul"](rows, OPS["copy"](columns, order=(0, 1))).value  # type: ignore[no-any-return]
