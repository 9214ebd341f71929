"""Tensors that loops carry: each lives in a buffer, and the next turn's values are put there as if all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tritoncnn.cpu.front.ttir import Value

from .buffers import fill
from .scratch import new_buffer, read, write
from .state import State
from .values import Buffer, Coord


def last_axis(v: Value) -> int:
    """The axis along which a carried tensor is contiguous."""
    wide = [d for d, n in enumerate(v.type.shape) if n > 1]
    return wide[-1] if wide else 0


def carry(code: State, arg: Value, start: Value) -> Buffer:
    """The buffer of a carried tensor, filled with its first value."""
    axis = last_axis(arg)
    b = new_buffer(code, arg, axis)
    fill(code, b, start, axis)
    return b


def _same_place(code: State, y: Value, arg: Value, others: set[Value]) -> bool:
    """Does each element of y need, of the carried tensors, only the same element of arg?"""
    seen: dict[Value, bool] = {}

    def walk(x: Value) -> bool:
        if x is arg:
            return x.type.shape == y.type.shape
        if x in others:
            return False
        if x in code.buffers or x in code.scalars or x.op is None:
            return all(code.buffers[x].ptr != code.buffers[a].ptr for a in others) if x in code.buffers else True
        if x not in seen:
            plain = code.row(x.op).pointwise
            seen[x] = all(walk(z) for z in x.op.operands) if plain else not _reaches(code, x, others | {arg})
        return seen[x]

    return walk(y)


def _reaches(code: State, x: Value, targets: set[Value]) -> bool:
    """Would pulling x read one of the targets?"""
    if x in targets:
        return True
    if x in code.scalars or x.op is None:
        return False
    if x in code.buffers:
        return any(t in code.buffers and code.buffers[t].ptr == code.buffers[x].ptr for t in targets)
    return any(_reaches(code, y, targets) for y in x.op.operands)


def hand_over(code: State, yields: Sequence[Value], args: Sequence[Value], cells: Sequence[Buffer]) -> None:
    """Put the next iteration's tensors into their buffers, as if all at once."""
    carried = set(args)
    in_place, copies = [], []
    for y, arg, cell in zip(yields, args, cells, strict=True):
        if y in code.buffers and code.buffers[y].ptr == cell.ptr:
            continue
        if y not in code.buffers and _same_place(code, y, arg, carried - {arg}):
            in_place.append((y, cell))
            continue
        if y in code.buffers and all(code.buffers[y].ptr != c.ptr for c in cells):
            copies.append((y, cell, code.buffers[y]))
            continue
        axis = last_axis(arg)
        spare = new_buffer(code, arg, axis)
        fill(code, spare, y, axis)
        copies.append((y, cell, spare))
    for y, cell in in_place:
        fill(code, replace(cell, lvl=code.depth), y, last_axis(y))
    for y, cell, spare in copies:
        target = replace(cell, lvl=code.depth)

        def copy(c: tuple[Coord, ...], target: Buffer = target, spare: Buffer = spare) -> None:
            write(code, target, c, read(code, spare, c))

        code.nest(y.type.shape, last_axis(y), copy)
