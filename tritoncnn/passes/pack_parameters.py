"""PackParameters: all parameters in one flat arena, so that the optimizer is one launch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tritoncnn.errors import DTypeError
from tritoncnn.ir import DTYPE_BYTES, Graph, Rewriter, TensorType, Value
from tritoncnn.ops import OPS, Sym

ARENA = "parameters"


@dataclass(frozen=True)
class Slice:
    """A parameter's part of the arena: ``offset`` in elements, ``type`` its stored shape and strides.

    ``type.shape`` is the torch shape or a row-major reshape of it.
    """

    name: str
    offset: int
    type: TensorType


@dataclass(frozen=True)
class ParameterLayout:
    """Where each parameter lies in an arena of ``size`` elements; gaps (for alignment) stay zero."""

    slices: tuple[Slice, ...]
    size: int

    def offset(self, name: str) -> int:
        return next(part.offset for part in self.slices if part.name == name)


def storage_order(graph: Graph, value: Value) -> tuple[int, ...] | None:
    """The memory order in which ``value`` is read without a copy by the first op that asks for one, seen through views and
    pointwise work; None when no op asks."""
    for node in graph.users.get(value, ()):
        op = OPS[node.op]
        if op.view is not None:
            order = storage_order(graph, node.result)
            order = op.before(value.type, order, **node.attrs) if op.before and order else None
        elif op.triton:
            order = storage_order(graph, node.result) if node.result.type.shape == value.type.shape else None
        else:
            i = node.operands.index(value)
            order = op.stored.get(i, op.wants.get(i, {})).get(value.type.rank)
        if order is not None:
            return order
    return None


def lay_out(graph: Graph, values: Collection[Value]) -> ParameterLayout:
    """One slice a parameter, each starting on a cache line, stored as the ops of ``graph`` that read it like it best.

    Raises DTypeError when one is not float32.
    """
    offset, slices = 0, []
    for value in values:
        if value.type.dtype != "f32":
            raise DTypeError(f"parameters must be float32 for now; {value.name} is {value.type.dtype}")
        type = value.type.with_order(storage_order(graph, value) or tuple(range(value.type.rank)))
        slices.append(Slice(value.name, offset, type))
        step = 64 // DTYPE_BYTES[type.dtype]
        offset += (type.numel + step - 1) // step * step
    return ParameterLayout(tuple(slices), offset)


def pack_parameters(graph: Graph, layout: ParameterLayout, gradients: int = 0) -> Graph:
    """f(x, w, b)   =>   f(x, parameters) with w = slice(parameters), b = slice(parameters)

    With ``gradients`` = k the last k outputs are the gradients of the layout's slices, in order; they become one
    ``pack`` in the arena's layout, the last output.
    """
    names = {part.name: part for part in layout.slices}
    out = Rewriter(graph.name)
    for value in graph.inputs:
        if value.name not in names:
            out.replace(value, out.input(value.name, value.type))
    if names:
        arena = out.input(ARENA, TensorType.dense("f32", (layout.size,)))
        for value in graph.inputs:
            if value.name in names:
                out.replace(value, _slice(out, arena, names[value.name]))
    for node in graph.nodes:
        out.keep(node)
    if not gradients:
        return out.finish(graph.outputs)
    laid = [
        _ordered(out, out.value(v), part) for v, part in zip(graph.outputs[-gradients:], layout.slices, strict=True)
    ]
    offsets = tuple(part.offset for part in layout.slices)
    pack = OPS["pack"](*(Sym(out, v) for v in laid), offsets=offsets, size=layout.size).value
    return out.finish((*graph.outputs[:-gradients], pack))


def _slice(out: Rewriter, arena: Value, part: Slice) -> Value:
    order = part.type.order
    assert order is not None
    sliced = OPS["slice"](Sym(out, arena), offset=part.offset, shape=part.type.shape, order=order)
    return sliced.value


def _ordered(out: Rewriter, gradient: Value, part: Slice) -> Value:
    order = part.type.order
    assert order is not None
    return OPS["copy"](Sym(out, gradient), order=order).value
