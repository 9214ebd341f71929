"""FuseStatistics: a convolution finds the mean and variance of its own result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tritoncnn.ir import Graph, Node, Pattern, Rewriter, Value, match, matches, rewrite
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count

CONV = Pattern(("conv2d",), name="conv")
NORMALISED = (
    Pattern(("standardize",), (CONV,)),
    Pattern(("standardize",), (Pattern(("add",), (CONV, "shift")),)),
    Pattern(("standardize",), (Pattern(("add",), ("shift", CONV)),)),
)
CENTRED = Pattern(("sub",), (None, None))


class Above(NamedTuple):
    """What a norm reads: a convolution's result, and what is added to it, the same at all pixels of all samples."""

    conv: Node
    shift: Value | None


@dataclass(frozen=True)
class FuseStatistics(Pass):
    """%1 = conv2d(x, w);  %2, %3, %4 = standardize(%1) {dims=[0,2,3]}
       =>   %1, %3, %4 = conv2d(x, w) {statistics=true};  %2 = (%1 - %3) / sqrt(%4 + eps)

    When   the convolution is not depthwise and standardize takes all pixels of all samples, without groups: training batch
           norm. Two reads of %1 less.
    Or     standardize(%1 + b), b a number for each channel: %2 and %4 are the same, for b moves the mean alone, to %3 + b. What
           the gradient reads, (%1 + b) - (%3 + b), is %1 - %3 as well.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        norms = {node.results[0]: above for node in graph.nodes if (above := _match(graph, node))}
        chosen = {above.conv.result for above in norms.values()}
        centred = {(graph.producer[y].operands[0], graph.producer[y].results[1]): above for y, above in norms.items()}
        found: dict[Value, tuple[Value, Value]] = {}  # a convolution's result -> mean, variance

        def visit(out: Rewriter, node: Node) -> bool:
            if node.results[0] in chosen:
                operands = tuple(out.value(v) for v in node.operands)
                attrs = {**node.attrs, "statistics": True}
                types = OPS["conv2d"].infer(*(v.type for v in operands), **attrs)
                assert isinstance(types, tuple)
                y, mean, var = out.add(node.op, operands, types, attrs, node.source)
                out.replace(node.result, y)
                found[node.result] = mean, var
                return True
            is_centred = match(graph, node, CENTRED) is not None
            above = centred.get((node.operands[0], node.operands[1])) if is_centred else norms.get(node.results[0])
            if above is None:
                return False
            out.source = node.source
            kept = node.operands[1].type.shape if is_centred else node.results[1].type.shape
            mean, var = (OPS["reshape"](Sym(out, v), shape=kept) for v in found[above.conv.result])
            y = Sym(out, out.value(above.conv.result)) - mean
            if is_centred:
                out.replace(node.result, y.value)
                return True
            y = y * OPS["rsqrt"](var + node.attrs["eps"])
            if above.shift is not None:
                mean = mean + OPS["reshape"](Sym(out, out.value(above.shift)), shape=kept)
            for old, new in zip(node.results, (y, mean, var), strict=True):
                out.replace(old, new.value)
            return True

        note = f"fused the statistics of {count(len(chosen), 'convolution')} into its kernel"
        return rewrite(graph, visit), note if chosen else ""


def _broadcast(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The shape with as many dims as ``rank``, ones in front."""
    return (1,) * (rank - len(shape)) + tuple(shape)


def _match(graph: Graph, node: Node) -> Above | None:
    way = next((way for pattern in NORMALISED for way in matches(graph, node, pattern)), None)
    if way is None or node.attrs.get("groups"):
        return None
    conv, shift, kept = way.nodes["conv"], way.values.get("shift"), node.results[1].type
    x = conv.results[0]
    if len(conv.results) > 1 or x.type.dtype != "f32" or not x.type.numel:
        return None
    if shift is not None and (shift.type.dtype != "f32" or _broadcast(shift.type.shape, x.type.rank) != kept.shape):
        return None
    depthwise = conv.attrs.get("groups", 1) == conv.operands[0].type.shape[1] > 1
    return Above(conv, shift) if node.attrs["dims"] == (0, *range(2, x.type.rank)) and not depthwise else None
