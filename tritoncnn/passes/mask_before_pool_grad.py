"""MaskBeforePoolGrad: the gradient of relu, taken at the pooled size."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Rewriter, Value, remove_dead, rewrite
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count


@dataclass(frozen=True)
class MaskBeforePoolGrad(Pass):
    """y, i = max_pool2d(r);  where(r > 0, max_pool2d_grad(dy, i), 0)   =>   max_pool2d_grad(where(y > 0, dy, 0), i)

    Why    a pixel gets gradient only from windows it won, and there y is that pixel's own value. The mask is smaller, and
           r itself is no longer needed by the backward pass, so that it can stay inside a fused convolution.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        done = 0

        def visit(out: Rewriter, node: Node) -> bool:
            nonlocal done
            match = _match(graph, node)
            if match is None:
                return False
            pool_grad, y = match
            out.source = node.source
            dy, index = (Sym(out, out.value(v)) for v in pool_grad.operands)
            masked = OPS["where"](Sym(out, out.value(y)) > 0.0, dy, 0.0)
            out.replace(node.result, OPS["max_pool2d_grad"](masked, index, **pool_grad.attrs).value)
            done += 1
            return True

        after = rewrite(graph, visit)
        return (remove_dead(after), f"moved {count(done, 'mask')} below a pooling gradient") if done else (graph, "")


def _match(graph: Graph, node: Node) -> tuple[Node, Value] | None:
    """(the max_pool2d_grad, the pooled y) when ``node`` is where(r > 0, max_pool2d_grad(dy, i), 0)."""
    if node.op != "where":
        return None
    compare, pool_grad, zero = (graph.producer.get(v) for v in node.operands)
    if (
        compare is None
        or compare.op != "gt"
        or not _is_zero(zero)
        or not _is_zero(graph.producer.get(compare.operands[1]))
    ):
        return None
    if pool_grad is None or pool_grad.op != "max_pool2d_grad" or graph.only_user(pool_grad.result) is not node:
        return None
    pool = graph.producer.get(pool_grad.operands[1])
    if pool is None or pool.op != "max_pool2d" or pool.operands[0] != compare.operands[0]:
        return None
    return pool_grad, pool.results[0]


def _is_zero(node: Node | None) -> bool:
    return node is not None and node.op == "const" and node.attrs["value"] == 0.0
