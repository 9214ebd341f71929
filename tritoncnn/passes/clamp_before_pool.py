"""ClampBeforePool: relu comes before a maximum over windows, next to the convolution."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Pattern, Rewriter, Value, match, remove_dead, rewrite
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count


@dataclass(frozen=True)
class ClampBeforePool(Pass):
    """y, i = max_pool2d(x);  relu(y)   =>   max_pool2d(relu(x))

    When   nothing else reads x, y or i; a kernel with an epilogue slot makes x, or pointwise work behind one.
    Why    the convolution can then clamp and pool its own result (FuseEpilogue, FusePool), and the gradient's mask is still
           taken at the pooled size (MaskBeforePoolGrad).
    As     relu does not decrease and keeps NaN where it is, and every window has a pixel of x (window.py): the maximum is the
           same. Where it is above 0 or NaN it is so at the same tap, of which relu changed nothing. Where it is 0 another tap
           may be named, for several are 0 now. The gradient there was 0 by relu's mask after the pooling, and is by the one
           before: it goes to a pixel which relu made 0, and no such pixel wins a window whose maximum is above 0. (Only
           whether a 0 is -0.0 may differ.)
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        done = 0

        def visit(out: Rewriter, node: Node) -> bool:
            nonlocal done
            found = match(graph, node, _CLAMPED)
            if found is None or not _fits(graph, found.nodes["pool"], found.values["x"]):
                return False
            pool = found.nodes["pool"]
            out.source = node.source
            clamped = OPS["relu"](Sym(out, out.value(found.values["x"])))
            out.source = pool.source
            y, _ = OPS["max_pool2d"](clamped, **pool.attrs)
            out.replace(node.result, y.value)
            done += 1
            return True

        after = rewrite(graph, visit)
        return (remove_dead(after), f"moved {count(done, 'relu')} before a pooling") if done else (graph, "")


_CLAMPED = Pattern(("relu",), (Pattern(("max_pool2d",), ("x",), "pool", alone=True),))


def _fits(graph: Graph, pool: Node, x: Value) -> bool:
    index_read = any(value in graph.users or value in graph.outputs for value in pool.results[1:])
    return not index_read and graph.only_user(x) is pool and _from_kernel(graph, x)


def _from_kernel(graph: Graph, x: Value) -> bool:
    """Whether x is made by a kernel with an epilogue slot, or by pointwise work of its size on what is."""
    node = graph.producer.get(x)
    while node is not None and OPS[node.op].triton:
        node = next(
            (graph.producer[v] for v in node.operands if v.type.shape == x.type.shape and v in graph.producer), None
        )
    return node is not None and OPS[node.op].epilogue
