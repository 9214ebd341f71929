"""PackParameters: all parameters in one flat arena, so that the optimizer is one launch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tritoncnn.errors import DTypeError
from tritoncnn.ir import DTYPE_BYTES, Graph, Rewriter, TensorType, Value
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.split_constants import PREPARED

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
    """Where each parameter lies in an arena of ``size`` elements; gaps (for alignment) stay zero. ``arena``: the input's name."""

    slices: tuple[Slice, ...]
    size: int
    arena: str = ARENA
    dtype: str = "f32"

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


def lay_out(graph: Graph, values: Collection[Value], arena: str = ARENA) -> ParameterLayout:
    """One slice a parameter, each starting on a cache line, stored as the ops of ``graph`` that read it like it best.

    Raises DTypeError when one is not float32.
    """
    for value in values:
        if value.type.dtype != "f32":
            raise DTypeError(f"parameters must be float32 for now; {value.name} is {value.type.dtype}")
    return _lay_out(graph, values, arena, "f32")


def lay_out_prepared(graph: Graph) -> tuple[ParameterLayout, ...]:
    """One arena for each dtype of the inputs that ``split_constants`` has made of ``graph``."""
    by_dtype: dict[str, list[Value]] = {}
    for value in graph.inputs:
        if value.name.startswith(PREPARED):
            by_dtype.setdefault(value.type.dtype, []).append(value)
    return tuple(_lay_out(graph, values, f"{PREPARED}{dtype}", dtype) for dtype, values in by_dtype.items())


def _lay_out(graph: Graph, values: Collection[Value], arena: str, dtype: str) -> ParameterLayout:
    offset, slices = 0, []
    for value in values:
        type = value.type.with_order(storage_order(graph, value) or tuple(range(value.type.rank)))
        slices.append(Slice(value.name, offset, type))
        step = 64 // DTYPE_BYTES[type.dtype]
        offset += (type.numel + step - 1) // step * step
    return ParameterLayout(tuple(slices), offset, arena, dtype)


def pack_parameters(graph: Graph, *layouts: ParameterLayout) -> Graph:
    """f(x, w, b)   =>   f(x, parameters) with w = slice(parameters), b = slice(parameters)

    Each layout is an arena. One of which the graph reads nothing is no input.
    """
    parts = {part.name: (layout, part) for layout in layouts for part in layout.slices}
    out = Rewriter(graph.name)
    for value in graph.inputs:
        if value.name not in parts:
            out.replace(value, out.input(value.name, value.type))
    arenas: dict[str, Value] = {}
    for value in graph.inputs:
        if value.name in parts:
            layout, part = parts[value.name]
            if layout.arena not in arenas:
                arenas[layout.arena] = out.input(layout.arena, TensorType.dense(layout.dtype, (layout.size,)))
            out.replace(value, _slice(out, arenas[layout.arena], part))
    for node in graph.nodes:
        out.keep(node)
    return out.finish(graph.outputs)


def pack_outputs(graph: Graph, *layouts: ParameterLayout) -> Graph:
    """The last outputs, one for each slice of the layouts, become one ``pack`` for each layout, as it says."""
    count = sum(len(layout.slices) for layout in layouts)
    others, last = graph.outputs[: len(graph.outputs) - count], list(graph.outputs[len(graph.outputs) - count :])
    out = Rewriter(graph.name)
    out.keep_inputs(graph)
    for node in graph.nodes:
        out.keep(node)
    packs = []
    for layout in layouts:
        laid = [_ordered(out, out.value(last.pop(0)), part) for part in layout.slices]
        offsets = tuple(part.offset for part in layout.slices)
        packs.append(OPS["pack"](*(Sym(out, v) for v in laid), offsets=offsets, size=layout.size).value)
    return out.finish((*others, *packs))


def _slice(out: Rewriter, arena: Value, part: Slice) -> Value:
    order = part.type.order
    assert order is not None
    sliced = OPS["slice"](Sym(out, arena), offset=part.offset, shape=part.type.shape, order=order)
    return sliced.value


def _ordered(out: Rewriter, value: Value, part: Slice) -> Value:
    order = part.type.order
    assert order is not None
    return OPS["copy"](Sym(out, value), order=order).value
