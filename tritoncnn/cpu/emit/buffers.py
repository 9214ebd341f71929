"""Lazy tensors computed into scratch: along which axis, how far out, and with what cuts."""

from __future__ import annotations

from collections.abc import Sequence

from tritoncnn.cpu.facts.peel import peel
from tritoncnn.cpu.front.ttir import Value

from .pull import available, pull
from .scratch import new_buffer, write
from .state import State
from .values import Buffer


def vector_axis(code: State, v: Value) -> int:
    """Along which axis to compute a tensor: the one its loads and buffers are contiguous along, else the widest."""
    votes, shape = contiguous_axes(code, v), v.type.shape
    widest = max(range(len(shape)), key=lambda d: (min(shape[d], code.lanes), d))
    return max(votes, key=lambda d: (votes[d], d)) if votes else widest


def contiguous_axes(code: State, v: Value) -> dict[int, int]:
    """The axes along which loads and buffers behind v are contiguous: axis -> how much speaks for it."""
    votes: dict[int, int] = {}
    seen: set[tuple[Value, tuple[int | None, ...]]] = set()

    def walk(x: Value, axes: tuple[int | None, ...]) -> None:
        """axes[d]: which axis of v the axis d of x is."""
        if not x.type.shape or (x, axes) in seen:
            return
        seen.add((x, axes))
        for d, at in enumerate(axes):
            if at is None or x.type.shape[d] == 1:
                continue
            if x in code.buffers:
                votes[at] = votes.get(at, 0) + (code.buffers[x].strides[d] == 1)
            elif x.op is not None and code.row(x.op).access == "load":
                width = min(code.lanes, x.type.shape[d])
                votes[at] = votes.get(at, 0) + (code.facts.stride(x.op.operands[0], d, width) == 1) * width
        op = x.op
        if x in code.buffers or op is None:
            return
        axis_of = code.row(op).axis
        if axis_of is None:
            return
        inner = {axis_of(op, d): at for d, at in enumerate(axes)}
        for y in op.operands:
            walk(y, tuple(inner.get(d) for d in range(len(y.type.shape))))

    walk(v, tuple(range(len(v.type.shape))))
    return {d: n for d, n in votes.items() if n}


def materialise(code: State, v: Value, vaxis: int | None = None) -> Buffer:
    """Compute a tensor into scratch, as far out as it can be."""
    if v in code.buffers:
        return code.buffers[v]
    with code.at_level(available(code, v)):
        axis = vector_axis(code, v) if vaxis is None else vaxis
        b = new_buffer(code, v, axis)
        fill(code, b, v, axis)
    code.buffers[v] = b
    return b


def fill(code: State, b: Buffer, v: Value, vaxis: int) -> None:
    """Write every element of v into an existing buffer."""
    ends = cuts_of(code, [v], vaxis, code.lanes)
    code.nest(v.type.shape, vaxis, lambda c: write(code, b, c, pull(code, v, c)), cuts=ends)


def cuts_of(code: State, values: Sequence[Value], axis: int, step: int) -> tuple[int, ...]:
    """Where to cut the loop along an axis that computes the values."""
    return peel(code.facts, code.buffers.keys() | code.scalars.keys(), values, axis, step)
