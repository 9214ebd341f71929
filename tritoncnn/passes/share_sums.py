"""ShareSums: sums of products that differ by factors of the results only are one sum."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tritoncnn.ir import Graph, Node, Pattern, Rewriter, Value, match, rewrite
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count

PRODUCT = Pattern(("mul",))


@dataclass(frozen=True)
class _Sum:
    """``node`` adds up the product of ``full``, times ``outer``, which do not change along the summed dims."""

    node: Node
    full: Counter[Value]
    outer: Counter[Value]


@dataclass(frozen=True)
class ShareSums(Pass):
    """%1 = sum(dy) {dims=[0]};  %2 = mul(dy, gamma);  %3 = sum(%2) {dims=[0]}   =>   %1;  %3 = mul(%1, gamma)

    When   gamma has size 1 along the summed dims, and the sum without it is computed anyway, earlier: the gradient of a norm
    with weight and bias reads its dy half as often. Products are taken apart into all their factors.
    Where the plain sum is beyond f32's range, so is the other.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        first: dict[tuple[object, ...], list[_Sum]] = {}
        shared: dict[
            Value, tuple[Value, Counter[Value]]
        ] = {}  # a sum's result -> the earlier sum's, and further factors
        for node in graph.nodes:
            if OPS[node.op].reduces != "sum" or node.result.type.dtype != "f32":
                continue
            found = _factors(graph, node)
            key = node.attrs["dims"], node.operands[0].type.shape, frozenset(found.full.items())
            known = first.setdefault(key, [])
            base = next((one for one in known if one.outer <= found.outer), None)
            if base is None:
                known.append(found)
            else:
                shared[node.result] = base.node.result, found.outer - base.outer

        def visit(out: Rewriter, node: Node) -> bool:
            if node.results[0] not in shared:
                return False
            base, factors = shared[node.result]
            rank, dims = node.operands[0].type.rank, node.attrs["dims"]
            out.source = node.source
            y = Sym(out, out.value(base))
            for factor in factors.elements():
                y = y * _along(Sym(out, out.value(factor)), rank, dims)
            out.replace(node.result, y.value)
            return True

        return rewrite(graph, visit), f"{count(len(shared), 'sum')} made of another one" if shared else ""


def _factors(graph: Graph, node: Node) -> _Sum:
    """The factors of what is summed."""
    x, dims = node.operands[0], node.attrs["dims"]
    found = _Sum(node, Counter(), Counter())
    left = [x]
    while left:
        value = left.pop()
        maker = graph.producer.get(value)
        if maker is not None and value.type.numel and match(graph, maker, PRODUCT):
            left += maker.operands
        elif all(size == 1 for dim, size in _sizes(value, x.type.rank) if dim in dims):
            found.outer[value] += 1
        else:
            found.full[value] += 1
    return found


def _sizes(value: Value, rank: int) -> list[tuple[int, int]]:
    """(dim of the whole, size) of what is broadcast to a rank."""
    lead = rank - value.type.rank
    return [(lead + dim, size) for dim, size in enumerate(value.type.shape)]


def _along(factor: Sym, rank: int, dims: tuple[int, ...]) -> Sym:
    """A factor of a product of this rank as it broadcasts to the sums: without the summed dims."""
    kept = tuple(size for dim, size in _sizes(factor.value, rank) if dim not in dims)
    return factor if kept == factor.shape else OPS["reshape"](factor, shape=kept)  # type: ignore[no-any-return]
