"""SinkReshape: pointwise work and reductions come before dims of size 1 are left out, next to the kernel that made them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tritoncnn.ir import Graph, Node, Rewriter, Value, remove_dead, rewrite
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.define import Pass, count


@dataclass(frozen=True)
class SinkReshape(Pass):
    """%1 = reshape(y: [N,K,1,L], [N,K,L]);  add(%1, b: [K,1])   =>   reshape(add(y, reshape(b, [1,K,1,1])), [N,K,L])

    and so a sum or maximum of %1

    When   a kernel with an epilogue slot makes y, or pointwise work behind one.
    Why    a convolution of lines is computed as one of pictures of height 1; the reshape behind it would keep what follows out
           of its kernel. Reshapes that meet are merged by Simplify.
    """

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        sink = _Sink(graph)
        after = remove_dead(rewrite(graph, sink))
        note = f"moved {count(sink.done, 'pointwise op')} before a reshape"
        return (after, note) if sink.done else (graph, "")


@dataclass
class _Sink:
    """The visit of one node.

    made     values of the new graph that a kernel with an epilogue slot makes, or pointwise work behind one
    larger   a value of the new graph -> the one of ``made`` that it is without dims of size 1
    """

    graph: Graph
    made: set[Value] = field(default_factory=set)
    larger: dict[Value, Value] = field(default_factory=dict)
    done: int = 0

    def __call__(self, out: Rewriter, node: Node) -> bool:
        op = OPS[node.op]
        operands = tuple(out.value(v) for v in node.operands)
        shape = operands[0].type.shape if op.reduces else node.results[0].type.shape
        wide = next((self.larger[v] for v in operands if v in self.larger and v.type.shape == shape), None)
        if wide is not None and (op.triton or op.reduces):
            out.source = node.source
            (self._reduce if op.reduces else self._sink)(out, node, wide)
            self.done += 1
            return True
        result = out.keep(node)[0]
        if _leaves_out(node) and operands[0] in self.made:
            self.larger[result] = operands[0]
        if op.epilogue or (op.triton and any(v in self.made for v in operands if v.type.shape == shape)):
            self.made.add(result)
        return True

    def _sink(self, out: Rewriter, node: Node, y: Value) -> None:
        wide = self._computed(out, node, y, node.result.type.shape)
        self.made.add(wide.value)
        narrow = OPS["reshape"](wide, shape=node.result.type.shape)
        self.larger[narrow.value] = wide.value
        out.replace(node.result, narrow.value)

    def _reduce(self, out: Rewriter, node: Node, y: Value) -> None:
        """The dims that were left out are reduced, too."""
        kept = _matching(y.type.shape, node.operands[0].type.shape)
        dims = tuple(d for d in range(y.type.rank) if d not in kept or kept.index(d) in node.attrs["dims"])
        out.replace(node.result, OPS[node.op](Sym(out, y), **{**node.attrs, "dims": dims}).value)

    def _computed(self, out: Rewriter, node: Node, y: Value, shape: tuple[int, ...]) -> Sym:
        """A pointwise node of this ``shape``, in the shape of y."""
        found: Sym = OPS[node.op](*(self._widened(out, v, node, y, shape) for v in node.operands), **node.attrs)
        return found

    def _widened(self, out: Rewriter, old: Value, reader: Node, y: Value, shape: tuple[int, ...]) -> Sym:
        """An operand of ``reader``, which broadcasts to ``shape``, so that it broadcasts to y's."""
        v = out.value(old)
        if v in self.larger and self.larger[v].type.shape == y.type.shape:
            return Sym(out, self.larger[v])
        if v.type.numel == 1:
            return Sym(out, v)
        producer = self.graph.producer.get(old)
        if producer and OPS[producer.op].triton and v.type.shape == shape and self.graph.only_user(old) is reader:
            return self._computed(out, producer, y, shape)
        sizes = dict(zip(_matching(y.type.shape, shape)[len(shape) - v.type.rank :], v.type.shape, strict=True))
        widened: Sym = OPS["reshape"](Sym(out, v), shape=tuple(sizes.get(dim, 1) for dim in range(y.type.rank)))
        return widened


def _leaves_out(node: Node) -> bool:
    """Whether the node is a view of all elements of its operand, in order, with fewer dims of size 1."""
    if OPS[node.op].view is None:
        return False
    a, b = node.operands[0].type.shape, node.result.type.shape
    same = [n for n in a if n != 1] == [n for n in b if n != 1]
    return len(b) < len(a) and same and len(_matching(a, b)) == len(b)


def _matching(wide: tuple[int, ...], narrow: tuple[int, ...]) -> tuple[int, ...]:
    """For each dim of the narrow shape, in order, a dim of the wide one of its size, as far as there is one."""
    found: list[int] = []
    for size in narrow:
        start = found[-1] + 1 if found else 0
        dim = next((dim for dim in range(start, len(wide)) if wide[dim] == size), None)
        if dim is None:
            break
        found.append(dim)
    return tuple(found)
