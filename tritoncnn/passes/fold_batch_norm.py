"""FoldBatchNorm: a factor per channel behind a product moves into the product's weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tritoncnn.ir import Graph, Node, Rewriter, Value, remove_dead, rewrite
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count
from tritoncnn.passes.split_constants import constant_values


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """(conv2d(x, w) + b) * s + t   =>   conv2d(x, w * s) + (b * s + t)

    When   b, s, t and w follow from the inputs ``constants`` alone, s has one number per channel, nothing else reads what stands
           between, and all is f32: in 16 bits w * s would be rounded, where the product was not. For all ops that are ``scaled``:
           convolutions, transposed ones, matrix products. Batch norm with given statistics is such an s and t.
    Why    the right-hand factors are computed once (``split_constants``), not at each pixel of each call.
    """

    constants: frozenset[str]

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        fold = _Fold(graph, constant_values(graph, self.constants))
        after = remove_dead(rewrite(graph, fold))
        note = f"moved {count(fold.done, 'factor')} per channel into the weights before it"
        return (after, note) if fold.done else (graph, "")


@dataclass(frozen=True)
class _Affine:
    """What a value is: ``product`` of the new ``operands``, plus ``shift``."""

    product: Node
    operands: tuple[Sym, ...]
    shift: Sym | None = None

    def times(self, s: Sym) -> _Affine:
        op = OPS[self.product.op]
        assert op.scaled is not None
        K = self.product.result.type.shape[op.channel]
        operands = op.scaled(OPS["reshape"](s, shape=(K,)), *self.operands, **self.product.attrs)
        return _Affine(self.product, operands, None if self.shift is None else self.shift * s)

    def plus(self, t: Sym) -> _Affine:
        return _Affine(self.product, self.operands, t if self.shift is None else self.shift + t)

    def emit(self) -> Sym:
        y: Sym = OPS[self.product.op](*self.operands, **self.product.attrs)
        return y if self.shift is None else y + self.shift


@dataclass
class _Fold:
    """The visit of one node."""

    graph: Graph
    constants: frozenset[Value]
    known: dict[Value, _Affine] = field(default_factory=dict)  # values of the old graph
    done: int = 0

    def __call__(self, out: Rewriter, node: Node) -> bool:
        if self._is_product(node):
            self.known[node.result] = _Affine(node, tuple(Sym(out, out.value(v)) for v in node.operands))
        found = self._match(out, node)
        if found is None:
            return False
        self.known[node.result] = found
        out.source = found.product.source or node.source
        out.replace(node.result, found.emit().value)
        return True

    def _is_product(self, node: Node) -> bool:
        fits = OPS[node.op].scaled is not None and len(node.results) == 1 and node.results[0].type.dtype == "f32"
        return fits and all(v in self.constants for v in node.operands[1:])

    def _match(self, out: Rewriter, node: Node) -> _Affine | None:
        """The affine value that ``node`` makes of another one and a constant."""
        for turn in _RULES.get(node.op, {}):
            value, constant = node.operands[turn], node.operands[1 - turn]
            inner = self.known.get(value)
            one_reader = self.graph.only_user(value) is node and value != constant
            if inner is None or not one_reader or constant not in self.constants:
                continue
            if not _per_channel(constant, value, OPS[inner.product.op].channel):
                continue
            rule = _RULES[node.op][turn]
            self.done += rule in (_times, _over)
            return rule(inner, Sym(out, out.value(constant)))
        return None


def _per_channel(constant: Value, value: Value, channel: int) -> bool:
    """Whether the constant has one number for each channel of the value, and is of its dtype."""
    shape = value.type.shape
    if constant.type.rank > len(shape) or constant.type.dtype != value.type.dtype:
        return False
    padded = (1,) * (len(shape) - constant.type.rank) + constant.type.shape
    wanted = [1] * len(shape)
    wanted[channel] = shape[channel]
    return list(padded) == wanted


def _times(a: _Affine, s: Sym) -> _Affine:
    return a.times(s)


def _over(a: _Affine, s: Sym) -> _Affine:
    return a.times(OPS["reciprocal"](s))


def _plus(a: _Affine, t: Sym) -> _Affine:
    return a.plus(t)


def _minus(a: _Affine, t: Sym) -> _Affine:
    return a.plus(-t)


# What an op does to the value that is its operand of that number; the other operand is the constant.
_RULES: dict[str, dict[int, Callable[[_Affine, Any], _Affine]]] = {
    "mul": {0: _times, 1: _times},
    "add": {0: _plus, 1: _plus},
    "div": {0: _over},
    "sub": {0: _minus},
}
