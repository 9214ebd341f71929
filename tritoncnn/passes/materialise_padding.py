"""MaterialisePadding: a picture with few channels is padded once, not at every tap."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Pattern, Rewriter, match, rewrite
from tritoncnn.kernels.conv_problem import edges
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count

PADDED = Pattern(("conv2d", "conv2d_wgrad"))
MAX_CHANNELS = 16  # above this a tap's channels fill vectors, and masking a whole tap is cheap


@dataclass(frozen=True)
class MaterialisePadding(Pass):
    """conv2d(x, w) {padding=[1,2]}          =>   conv2d(pad2d(x) {padding=[1,1,2,2]}, w) {padding=[0,0]}
    conv2d_wgrad(x, dy) {padding=[1,2]}   =>   the same; Simplify then shares the one padded copy

    When   x has few channels, so that without masks the reduction over taps and channels is one contiguous product.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        done = 0

        def visit(out: Rewriter, node: Node) -> bool:
            nonlocal done
            if match(graph, node, PADDED) is None or not any(node.attrs["padding"]):
                return False
            x = out.value(node.operands[0])
            if x.type.shape[1] > MAX_CHANNELS or not x.type.numel or x.type.rank != 4 or node.attrs["groups"] != 1:
                return False
            sides = edges(node.attrs["padding"], 2)
            out.source = node.source
            padded = OPS["pad2d"](Sym(out, x), padding=(*sides[0], *sides[1])).value
            rest = tuple(out.value(v) for v in node.operands[1:])
            out.keep(node, operands=(padded, *rest), attrs={**node.attrs, "padding": (0, 0)})
            done += 1
            return True

        return rewrite(graph, visit), f"padded the input of {count(done, 'convolution')} beforehand" if done else ""
