"""ChooseLayout: from logical shapes to memory. Before it every type is row-major; after it strides are what they will be."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tritoncnn.ir import Graph, Node, Rewriter, TensorType, Value
from tritoncnn.kernels.target import Target
from tritoncnn.ops import OPS
from tritoncnn.passes.define import Pass, count


@dataclass(frozen=True)
class ChooseLayout(Pass):
    """Each result gets the memory order its op asks for (activations N,H,W,C; filter gradients R,S,C,K, or as they are
    copied by their only reader); a pointwise result follows its first full-size operand without gaps, else one with gaps; views
    share their operand's memory. A copy is inserted where a view is impossible and where a kernel wants an operand in another
    order; a copy to the order that is there already goes.

    ``results``: how the first outputs must lie. A dim of stride 0 is cut to its first element: the caller repeats it.
    """

    target: Target
    results: tuple[TensorType, ...] = ()

    def __call__(self, graph: Graph) -> tuple[Graph, str]:
        layout = _Layout(graph, self.target, Rewriter(graph.name), self.results)
        layout.out.keep_inputs(graph)
        for node in graph.nodes:
            layout.visit(node)
        first = [layout.result(v, type) for v, type in zip(graph.outputs, self.results, strict=False)]
        note = f"activations N,H,W,C; {count(layout.copies, 'copy', 'copies')} inserted"
        return layout.out.finish((*first, *(layout.out.value(v) for v in graph.outputs[len(first) :]))), note


@dataclass
class _Layout:
    graph: Graph
    target: Target
    out: Rewriter
    results: tuple[TensorType, ...]
    copies: int = 0
    copied: dict[tuple[Value, tuple[int, ...]], Value] = field(default_factory=dict)

    def visit(self, node: Node) -> None:
        op = OPS[node.op]
        operands = tuple(self.out.value(v) for v in node.operands)
        if op.view is not None:
            self._view(node, operands[0])
            return
        if op.copies and _same_memory(operands[0].type, operands[0].type.with_order(node.attrs["order"])):
            self.out.replace(node.result, operands[0])
            return
        types = tuple(v.type for v in operands)
        operands = tuple(
            v
            if op.suits and op.suits(i, types, node.attrs, self.target)
            else self._wanted(v, op.wants.get(i, {}).get(v.type.rank))
            for i, v in enumerate(operands)
        )
        inplace = dict(op.inplace)
        asked = self._asked(node.results[0]) if op.any_order or op.expression else None
        made = tuple(
            operands[inplace[i]].type
            if i in inplace
            else value.type.with_order(asked)
            if asked and i == 0
            else _result_type(node, value.type, operands)
            for i, value in enumerate(node.results)
        )
        results = self.out.add(node.op, operands, made, node.attrs, node.source)
        for old, new in zip(node.results, results, strict=True):
            self.out.replace(old, new)

    def _asked(self, value: Value) -> tuple[int, ...] | None:
        """The memory order in which the only reader of ``value`` copies it, or the caller wants it, seen through views."""
        reader = self.graph.only_user(value)
        if reader is None:
            place = self.graph.outputs.index(value) if value in self.graph.outputs else len(self.results)
            last = place < len(self.results) and value not in self.graph.users
            return self.results[place].order if last else None
        op = OPS[reader.op]
        if op.view is None:
            return reader.attrs["order"] if op.copies else None
        order = self._asked(reader.result)
        return op.before(value.type, order, **reader.attrs) if op.before and order else None

    def _view(self, node: Node, operand: Value) -> None:
        view = OPS[node.op].view
        assert view is not None
        type = view(operand.type, **node.attrs)
        if type is None:
            operand = self._copy(operand, tuple(range(operand.type.rank)))
            type = view(operand.type, **node.attrs)
            assert type is not None, f"{node.op} of a row-major tensor is a view"
        (new,) = self.out.add(node.op, (operand,), (type,), node.attrs, node.source)
        self.out.replace(node.result, new)

    def result(self, old: Value, type: TensorType) -> Value:
        """An output of the graph as the caller wants it to lie."""
        value = self.out.value(old)
        if not value.type.numel:
            return value
        for dim, stride in enumerate(type.strides):
            if stride == 0 and value.type.shape[dim] > 1:
                shape = (*value.type.shape[:dim], 1, *value.type.shape[dim + 1 :])
                attrs = {"dim": dim, "start": 0, "size": 1}
                (value,) = self.out.add("narrow", (value,), (replace(value.type, shape=shape),), attrs)
        wanted = replace(value.type, strides=type.strides)
        if wanted.order is not None:
            return self._wanted(value, wanted.order)
        order = _order_with_gaps(wanted)
        assert order is not None
        (value,) = self.out.add("copy", (value,), (wanted,), {"order": order})
        self.copies += 1
        return value

    def _wanted(self, value: Value, order: tuple[int, ...] | None) -> Value:
        if order is None or _same_memory(value.type, value.type.with_order(order)):
            return value
        return self._copy(value, order)

    def _copy(self, value: Value, order: tuple[int, ...]) -> Value:
        if (value, order) not in self.copied:
            (new,) = self.out.add("copy", (value,), (value.type.with_order(order),), {"order": order})
            self.copied[value, order] = new
            self.copies += 1
        return self.copied[value, order]


def _same_memory(a: TensorType, b: TensorType) -> bool:
    """Strides may differ only where the size is 1."""
    return all(x == y or size <= 1 for x, y, size in zip(a.strides, b.strides, a.shape, strict=True))


def _order_with_gaps(type: TensorType) -> tuple[int, ...] | None:
    """The memory order of a part of a tensor, outermost dim first; None where elements repeat."""
    if any(stride == 0 < size - 1 for stride, size in zip(type.strides, type.shape, strict=True)):
        return None
    return tuple(sorted(range(type.rank), key=lambda dim: (-type.strides[dim], type.shape[dim] <= 1, dim)))


def _result_type(node: Node, type: TensorType, operands: tuple[Value, ...]) -> TensorType:
    op = OPS[node.op]
    if op.copies:
        return type.with_order(node.attrs["order"])
    if type.rank in op.orders:
        return type.with_order(op.orders[type.rank])
    if op.follows and operands[0].type.rank == type.rank and operands[0].type.order is not None:
        return type.with_order(operands[0].type.order)
    if op.expression:
        full = [v.type for v in operands if v.type.shape == type.shape]
        orders = [t.order for t in full] + [_order_with_gaps(t) for t in full]
        if (order := next(filter(None, orders), None)) is not None:
            return type.with_order(order)
    return replace(type, strides=TensorType.dense(type.dtype, type.shape).strides)
