"""StoreParameters: a parameter of an inference graph is copied, once, into the order in which its readers read it."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Rewriter
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count
from tritoncnn.passes.pack_parameters import storage_order


@dataclass(frozen=True)
class StoreParameters(Pass):
    """conv2d(x, w)   =>   conv2d(x, copy(w) {order})

    When   w is one of ``fixed``, and the first op that asks for an order asks for another than that in which w lies.
    With   the copy, which follows from w alone, made when w is loaded (``split_constants``).
    """

    fixed: frozenset[str] = frozenset()

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        out = Rewriter(graph.name)
        out.keep_inputs(graph)
        copied = 0
        for value in graph.inputs:
            order = storage_order(graph, value) if value.name in self.fixed else None
            if order is not None and value.type.with_order(order).strides != value.type.strides:
                out.replace(value, OPS["copy"](Sym(out, value), order=order).value)
                copied += 1
        for node in graph.nodes:
            out.keep(node)
        return out.finish(graph.outputs), f"copied {count(copied, 'parameter')} into another order" if copied else ""
