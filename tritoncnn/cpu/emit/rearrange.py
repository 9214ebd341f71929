"""Ops that rearrange a tensor as a whole, in scratch: reshape, join, cat, gather, histogram."""

from __future__ import annotations

from dataclasses import replace

from tritoncnn.cpu.front.ttir import Op, Value

from .buffers import fill, materialise, vector_axis
from .pull import pull
from .scratch import new_buffer, read, write
from .state import State
from .values import ZERO, Buffer, Coord, Coords, Res


def _row_major(code: State, v: Value) -> Buffer:
    """A tensor in scratch in the order of its indices."""
    b = materialise(code, v, len(v.type.shape) - 1) if v not in code.buffers else code.buffers[v]
    steps, size = [0] * len(b.shape), 1
    for d in reversed(range(len(b.shape))):
        steps[d] = size if b.shape[d] > 1 else 0
        size *= b.shape[d]
    if b.strides == tuple(steps):
        return b
    fresh = new_buffer(code, v)
    fill(code, fresh, v, len(v.type.shape) - 1)
    return fresh


def reshape(code: State, op: Op) -> None:
    """Axes are merged: the same memory with other strides."""
    b, r = _row_major(code, op.operands[0]), op.results[0]
    view = _strides_of(r.type.shape)
    code.buffers[r] = Buffer(b.ptr, r.type.shape, view, b.elem, b.lvl)


def _strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a tensor in the order of its indices."""
    steps, size = [0] * len(shape), 1
    for d in reversed(range(len(shape))):
        steps[d] = size if shape[d] > 1 else 0
        size *= shape[d]
    return tuple(steps)


def _part_of(code: State, whole: Buffer, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Buffer:
    """A part of a buffer, as a buffer."""
    at = code.offset(Res(whole.ptr, whole.lvl), whole.elem, start)
    steps = tuple(s if n > 1 else 0 for s, n in zip(strides, shape, strict=True))
    return Buffer(at.v, shape, steps, whole.elem, whole.lvl)


def join(code: State, op: Op) -> None:
    """Two tensors side by side along a new last axis."""
    r = op.results[0]
    out = new_buffer(code, r)
    shape = op.operands[0].type.shape
    for k, x in enumerate(op.operands):
        steps = tuple(2 * s for s in _strides_of(shape))
        fill(code, _part_of(code, out, k, shape, steps), x, vector_axis(code, x))
    code.buffers[r] = out


def cat(code: State, op: Op) -> None:
    """Tensors one after the other."""
    r = op.results[0]
    out = new_buffer(code, r)
    start = 0
    for x in op.operands:
        fill(code, _part_of(code, out, start, x.type.shape, out.strides), x, len(x.type.shape) - 1)
        start += x.type.shape[0] * out.strides[0]
    code.buffers[r] = out


def gather(code: State, op: Op) -> None:
    """Elements along an axis, by an index each."""
    source, index = op.operands
    r, axis = op.results[0], op.number("axis")
    b, out = _row_major(code, source), new_buffer(code, r)

    def one(c: Coords) -> None:
        at = (*c[:axis], _position(code, index, c), *c[axis + 1 :])
        write(code, out, c, read(code, b, at))

    code.nest(r.type.shape, None, one)
    code.buffers[r] = out


def _position(code: State, index: Value, c: Coords) -> Coord:
    """An element of an index tensor as an index; it is not negative."""
    i, elem = pull(code, index, c), index.type.elem
    if elem != "i32":
        i = Res(code.let(i.lvl, f"{'trunc' if elem == 'i64' else 'zext'} {elem} {i.v} to i32"), i.lvl)
    return Coord(i.v, i.lvl)


def histogram(code: State, op: Op) -> None:
    """Counts of numbers, one after the other."""
    r, x = op.results[0], op.operands[0]
    mask = op.operands[1] if len(op.operands) > 1 else None
    out = new_buffer(code, r)
    code.nest(r.type.shape, 0, lambda c: write(code, out, c, Res("0")))

    def one(c: Coords) -> None:
        bin = _position(code, x, c)

        def count() -> None:
            at = (bin,)
            here = replace(out, lvl=code.depth)
            old = read(code, here, at)
            write(code, here, at, Res(code.let(code.depth, f"add i32 {old.v}, 1"), code.depth))

        code.when(pull(code, mask, c).v if mask else "1", count)

    code.nest(x.type.shape, None, one)
    code.buffers[r] = out


def unsplat(code: State, op: Op) -> None:
    """The one element of a tensor."""
    x = op.operands[0]
    code.scalars[op.results[0]] = pull(code, x, tuple(ZERO for _ in x.type.shape))
