"""Decompose: ops that are made of others are taken apart, once gradients are there."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Rewriter, rewrite
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count


@dataclass(frozen=True)
class Decompose(Pass):
    """%1, %2, %3 = standardize(x) {dims=[1]}   =>   sums and pointwise ops, which fuse with their neighbours"""

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        made = sum(OPS[node.op].compose is not None for node in graph.nodes)

        def visit(out: Rewriter, node: Node) -> bool:
            compose = OPS[node.op].compose
            if compose is None:
                return False
            out.source = node.source
            found = compose(*(Sym(out, out.value(v)) for v in node.operands), **node.attrs)
            for old, new in zip(node.results, found if isinstance(found, tuple) else (found,), strict=True):
                out.replace(old, new.value)
            return True

        return rewrite(graph, visit), f"took {count(made, 'op')} apart" if made else ""
