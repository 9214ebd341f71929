"""Simplify: the same graph with less in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from tritoncnn.ir import Graph, Node, Rewriter, Value, remove_dead, rewrite
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count


@dataclass(frozen=True)
class Simplify(Pass):
    """x * 1, x + -0.0, x / 1, x - 0         =>   x
    reshape(reshape(x)), permute(permute(x))  =>   one of them, or x itself
    add(x, expand(c))                         =>   add(x, c)         pointwise ops broadcast by themselves
    sum(expand(x))                            =>   sum(x) * n        equal terms, added up, round to one side each time
    two nodes with equal op, operands, attrs  =>   one (ops have no side effects)
    a node that no output needs               =>   nothing
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        before = len(graph.nodes)
        while True:
            smaller = remove_dead(_merge_equal(rewrite(graph, _Rules())))
            if len(smaller.nodes) == len(graph.nodes) and smaller == graph:
                break
            graph = smaller
        removed = before - len(graph.nodes)
        return graph, f"removed {count(removed, 'node')}" if removed else ""


class _Rules:
    """One visit per node; knows the new graph's producers, so that chains collapse in one sweep."""

    def __init__(self) -> None:
        self.made: dict[Value, Node] = {}

    def __call__(self, out: Rewriter, node: Node) -> bool:
        operands = tuple(out.value(v) for v in node.operands)
        node = replace(node, operands=operands)
        for rule in (_neutral, _same_view, _merge_views, _drop_expand):
            answer = rule(node, self.made)
            if isinstance(answer, Value):
                out.replace(node.result, answer)
                return True
            node = answer or node
        if _sum_once(out, node, self.made):
            return True
        results = out.keep(node)
        self.made[results[0]] = replace(node, results=results)
        return True


Rule = Callable[[Node, dict[Value, Node]], "Value | Node | None"]


def _number(value: Value, made: dict[Value, Node]) -> float | None:
    node = made.get(value)
    number = OPS[node.op].number if node is not None else None
    return number(**node.attrs)[0] if node is not None and number is not None and value.type.rank == 0 else None


# The number that changes nothing as the right operand, and whether it does so as the left one. Of floats 0.0 + -0.0 is 0.0.
_NEUTRAL: dict[str, tuple[float, bool]] = {
    "mul": (1.0, True),
    "add": (-0.0, True),
    "div": (1.0, False),
    "sub": (0.0, False),
}


def _neutral(node: Node, made: dict[Value, Node]) -> Value | Node | None:
    found = _NEUTRAL.get(node.op)
    if found is None:
        return None
    neutral, either = found
    a, b = node.operands
    pairs = ((a, b), (b, a)) if either else ((a, b),)
    for kept, other in pairs:
        number = _number(other, made)
        if number is None or number != neutral or kept.type.shape != node.result.type.shape:
            continue
        if not kept.type.is_float or math.copysign(1.0, number) == math.copysign(1.0, neutral):
            return kept
    return None


def _same_view(node: Node, made: dict[Value, Node]) -> Value | Node | None:
    """A view that changes nothing."""
    op = OPS[node.op]
    idle = op.idle is not None and op.idle(node.operands[0].type, **node.attrs)
    return node.operands[0] if idle or (op.reduces and node.attrs["dims"] == ()) else None


def _merge_views(node: Node, made: dict[Value, Node]) -> Value | Node | None:
    above = made.get(node.operands[0]) if node.operands else None
    op = OPS[node.op]
    if above is None or OPS[above.op] is not op or op.joined is None:
        return None
    merged = replace(node, operands=above.operands, attrs=op.joined(above.attrs, node.attrs))
    return _same_view(merged, made) or merged


def _drop_expand(node: Node, made: dict[Value, Node]) -> Value | Node | None:
    """Operands that are only stretched, where another one has the full shape."""
    if not OPS[node.op].triton:
        return None
    operands = tuple(_unexpanded(v, made) for v in node.operands)
    shapes = [v.type.shape for v in operands]
    if operands != node.operands and node.result.type.shape in shapes:
        return replace(node, operands=operands)
    return None


def _unexpanded(value: Value, made: dict[Value, Node]) -> Value:
    node = made.get(value)
    return node.operands[0] if node is not None and OPS[node.op].stretches else value


def _sum_once(out: Rewriter, node: Node, made: dict[Value, Node]) -> bool:
    """The sum of floats that are repeated along a summed dim: of each once, times how often it comes."""
    if OPS[node.op].reduces != "sum" or len(node.operands) != 1 or "expr" in node.attrs:
        return False
    x, stretched = _unexpanded(node.operands[0], made), node.operands[0].type
    if x.type.rank != stretched.rank or not x.type.is_float:
        return False
    times = math.prod(stretched.shape[d] for d in node.attrs["dims"] if x.type.shape[d] == 1)
    if times <= 1 or any(x.type.shape[d] != n for d, n in enumerate(stretched.shape) if d not in node.attrs["dims"]):
        return False
    total = OPS["sum"](Sym(out, x), dims=node.attrs["dims"]) * float(times)
    out.replace(node.result, total.value)
    return True


def _merge_equal(graph: Graph) -> Graph:
    seen: dict[tuple[object, ...], tuple[Value, ...]] = {}

    def visit(out: Rewriter, node: Node) -> bool:
        key = (
            node.op,
            tuple(out.value(v) for v in node.operands),
            tuple((name, repr(value)) for name, value in sorted(node.attrs.items())),  # 0.0 is not -0.0, 1 is not True
            len(node.results),
        )
        if key in seen:
            for old, new in zip(node.results, seen[key], strict=True):
                out.replace(old, new)
            return True
        seen[key] = out.keep(node)
        return True

    return rewrite(graph, visit)
