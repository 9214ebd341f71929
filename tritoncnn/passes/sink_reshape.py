"""SinkReshape: pointwise work and reductions come before a result is reshaped, next to the kernel that made it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tritoncnn.ir import Graph, Node, Rewriter, Value, remove_dead, rewrite
from tritoncnn.ops import OPS, Sym
from tritoncnn.ops.reshape import dim_groups
from tritoncnn.passes.define import Pass, count
from tritoncnn.passes.recompute_light import SMALL


@dataclass(frozen=True)
class SinkReshape(Pass):
    """%1 = reshape(y: [N,K,1,L], [N,K,L]);  add(%1, b: [K,1])   =>   reshape(add(y, reshape(b, [1,K,1,1])), [N,K,L])

    and so a sum or maximum of %1, where only dims of size 1 were left out

    When   a kernel with an epilogue slot makes y, or pointwise work behind one or on more than a few numbers (those are computed
           again by each reader), and all that read the reshape can come before it: each other operand can be written in the
           shape of y, whose dims that were cut or joined are all its own, or all broadcast.
    Why    a convolution of lines is computed as one of pictures of height 1, a linear layer on words as a product of matrices;
           the reshape behind it would keep what follows out of its kernel. Reshapes that meet are merged by Simplify.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        sink = _Sink(graph)
        after = remove_dead(rewrite(graph, sink))
        note = f"moved {count(sink.done, 'op')} before a reshape"
        return (after, note) if sink.done else (graph, "")


@dataclass
class _Sink:
    """The visit of one node.

    made     values of the new graph that a kernel with an epilogue slot makes, or pointwise work
    source   a value of the new graph -> the one of ``made`` that it is a reshape of
    """

    graph: Graph
    made: set[Value] = field(default_factory=set)
    source: dict[Value, Value] = field(default_factory=dict)
    done: int = 0

    def __call__(self, out: Rewriter, node: Node) -> bool:
        op = OPS[node.op]
        operands = tuple(out.value(v) for v in node.operands)
        shape = operands[0].type.shape if op.reduces else node.results[0].type.shape
        y = next(
            (
                self.source[v]
                for old, v in zip(node.operands, operands, strict=True)
                if v in self.source and v.type.shape == shape and self._all_sink(old, self.source[v].type.shape)
            ),
            None,
        )
        out.source = node.source
        if y is not None:
            (self._reduce if op.reduces else self._sink)(out, node, y)
            self.done += 1
            return True
        result = out.keep(node)[0]
        if op.reshapes and operands[0] in self.made and operands[0].type.numel:
            self.source[result] = operands[0]
        behind = any(v in self.made for v in operands if v.type.shape == shape)
        if op.epilogue or (op.triton and (behind or result.type.numel > SMALL)):
            self.made.add(result)
        return True

    def _all_sink(self, value: Value, wide: tuple[int, ...]) -> bool:
        """Whether all that reads a reshape of something of the shape ``wide`` can come before it."""
        shape = value.type.shape
        return all(
            self._reduces(reader, wide)
            if OPS[reader.op].reduces
            else bool(OPS[reader.op].triton) and reader.result.type.shape == shape and self._fits(reader, wide, shape)
            for reader in self.graph.users[value]
        )

    def _sink(self, out: Rewriter, node: Node, y: Value) -> None:
        shape = node.result.type.shape
        found = self._computed(out, node, y, shape)
        self.made.add(found.value)
        again = OPS["reshape"](found, shape=shape)
        self.source[again.value] = found.value
        out.replace(node.result, again.value)

    def _reduces(self, node: Node, wide: tuple[int, ...]) -> bool:
        """Whether only dims of size 1 were left out: a sum of what was joined may be a bias gradient, which a product computes
        of the operand that it reads (FuseBiasGrad)."""
        groups = dim_groups(wide, node.operands[0].type.shape)
        return all(len(new) + len(old) == 2 for new, old in groups) and bool(_reduced_dims(wide, node))

    def _reduce(self, out: Rewriter, node: Node, y: Value) -> None:
        """Reduce those dims of y."""
        dims = _reduced_dims(y.type.shape, node)
        total = OPS[node.op](Sym(out, y), **{**node.attrs, "dims": dims})
        shape = node.result.type.shape
        out.replace(node.result, (total if total.shape == shape else OPS["reshape"](total, shape=shape)).value)

    def _fits(self, node: Node, wide: tuple[int, ...], shape: tuple[int, ...]) -> bool:
        return all(v.type.numel == 1 or _rewritten(v.type.shape, shape, wide) is not None for v in node.operands)

    def _computed(self, out: Rewriter, node: Node, y: Value, shape: tuple[int, ...]) -> Sym:
        """A pointwise node of this ``shape``, in the shape of y."""
        found: Sym = OPS[node.op](*(self._operand(out, v, node, y, shape) for v in node.operands), **node.attrs)
        return found

    def _operand(self, out: Rewriter, old: Value, reader: Node, y: Value, shape: tuple[int, ...]) -> Sym:
        """An operand of ``reader``, which broadcasts to ``shape``, so that it broadcasts to y's."""
        v = out.value(old)
        if v in self.source and self.source[v].type.shape == y.type.shape:
            return Sym(out, self.source[v])
        if v.type.numel == 1:
            return Sym(out, v)
        producer = self.graph.producer.get(old)
        alone = producer is not None and v.type.shape == shape and self.graph.only_user(old) is reader
        if producer and alone and OPS[producer.op].triton and self._fits(producer, y.type.shape, shape):
            return self._computed(out, producer, y, shape)
        found: Sym = OPS["reshape"](Sym(out, v), shape=_rewritten(v.type.shape, shape, y.type.shape))
        return found


def _rewritten(small: tuple[int, ...], shape: tuple[int, ...], wide: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape in which what broadcasts as ``small`` to ``shape`` broadcasts to ``wide``; None when there is none.

    ``wide`` is another shape of the same elements.
    """
    padded = (1,) * (len(shape) - len(small)) + small
    found = [1] * len(wide)
    for new, old in dim_groups(wide, shape):
        own = {padded[d] == shape[d] for d in old}
        if len(own) > 1:
            return None
        if own == {True}:
            for d in new:
                found[d] = wide[d]
    return tuple(found)


def _reduced_dims(wide: tuple[int, ...], node: Node) -> tuple[int, ...]:
    """Those of the shape ``wide`` over which ``node`` would go; none where it goes over dims of size 1 that ``wide`` lacks."""
    groups = dim_groups(wide, node.operands[0].type.shape)
    kept = {new[0] for new, old in groups if old[0] not in node.attrs["dims"]}
    return tuple(d for d in range(len(wide)) if d not in kept)
