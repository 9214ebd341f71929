"""MaskBeforePoolGrad: the gradient of relu, taken at the pooled size."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Pattern, Rewriter, Value, match, remove_dead, rewrite
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count


@dataclass(frozen=True)
class MaskBeforePoolGrad(Pass):
    """y, i = max_pool2d(r);  where(r <= 0, 0, max_pool2d_grad(dy, i))   =>   max_pool2d_grad(where(y <= 0, 0, dy), i)

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
            masked = OPS["where"](OPS["le"](Sym(out, out.value(y)), 0.0), 0.0, dy)
            out.replace(node.result, OPS["max_pool2d_grad"](masked, index, **pool_grad.attrs).value)
            done += 1
            return True

        after = rewrite(graph, visit)
        return (remove_dead(after), f"moved {count(done, 'mask')} below a pooling gradient") if done else (graph, "")


_MASKED = Pattern(
    ("where",),
    (
        Pattern(("le",), ("r", Pattern(("const",), name="threshold"))),
        Pattern(("const",), name="zero"),
        Pattern(("max_pool2d_grad",), (None, Pattern(("max_pool2d",), ("r",), "pool")), "grad", alone=True),
    ),
)


def _match(graph: Graph, node: Node) -> tuple[Node, Value] | None:
    """(the max_pool2d_grad, the pooled y) when ``node`` is where(r <= 0, 0, max_pool2d_grad(dy, i))."""
    found = match(graph, node, _MASKED)
    if found is None or any(found.nodes[name].attrs["value"] != 0.0 for name in ("zero", "threshold")):
        return None
    return found.nodes["grad"], found.nodes["pool"].results[0]
