"""Ops that make indices or move elements: how one element, or one vector, of their result is pulled."""

from __future__ import annotations

from tritoncnn.cpu.front.elements import zero
from tritoncnn.cpu.front.ttir import Op, Value

from .arith import apply
from .pull import pull
from .state import State
from .values import ZERO, Coord, Coords, Res

SMALL_AXIS = 8  # a reduction of so few elements is written out inside of its reader's loop


def elementwise(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """Pull the operands there, and apply the op."""
    return apply(code, op, [pull(code, x, coords if x.type.shape else ()) for x in op.operands])


def program_id(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """The program's place in the grid."""
    return Res(f"%pid{'xyz'.index(op.words()[0])}")


def num_programs(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """The grid's size."""
    return Res(f"%np{'xyz'.index(op.words()[0])}")


def poison(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """Zero: any value would do."""
    return Res(zero(v.type.elem))


def make_range(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """The index itself."""
    return code.index(coords[0], op.number("start"))


# ---- the operand's elements, elsewhere -------------------------------------------------------------------------------
def splat(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """One number everywhere."""
    return pull(code, op.operands[0])


def expand_dims(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """Leave the new axis out."""
    axis = op.number("axis")
    return pull(code, op.operands[0], coords[:axis] + coords[axis + 1 :])


def broadcast(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """Stay at the first element of an axis of one."""
    shape = op.operands[0].type.shape
    return pull(code, op.operands[0], tuple(c if n > 1 else ZERO for c, n in zip(coords, shape, strict=True)))


def trans(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """Take the axes in their old order."""
    order = op.attrs["order"]
    assert isinstance(order, list)
    return pull(code, op.operands[0], tuple(coords[order.index(d)] for d in range(len(coords))))


def split(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """The last axis has a side for each result."""
    return pull(code, op.operands[0], (*coords, Coord(str(op.results.index(v)))))


def split_axes(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """Each axis of the operand from the axes that it was split into."""
    groups = _regroup(op)
    assert groups is not None
    source = []
    for part in groups:
        c = ZERO
        for d, weight in part:
            c = _add_coords(code, c, code.times(coords[d], weight))
        source.append(c)
    return pull(code, op.operands[0], tuple(source))


def _add_coords(code: State, a: Coord, b: Coord) -> Coord:
    """Sum of two indices of which one at most has lanes."""
    if b.vl and not a.vl:
        a, b = b, a
    return code.plus(a, b)


def _regroup(op: Op) -> list[list[tuple[int, int]]] | None:
    """For a reshape that only splits axes: per source axis, the (result axis, weight) pairs that make up its index."""
    source, shape = op.operands[0].type.shape, op.results[0].type.shape
    groups: list[list[tuple[int, int]]] = []
    d = 0
    for size in source:
        part: list[tuple[int, int]] = []
        left = size
        while left > 1:
            if d == len(shape) or left % shape[d]:
                return None
            left //= shape[d]
            if shape[d] > 1:
                part.append((d, left))
            d += 1
        groups.append(part)
    return groups


# ---- which ops are lazy ----------------------------------------------------------------------------------------------
def only_splits_axes(op: Op) -> bool:
    """Is a reshape lazy?"""
    return _regroup(op) is not None


def along_a_small_axis(op: Op) -> bool:
    """Is a reduction lazy?"""
    shape, axis = op.operands[0].type.shape, op.number("axis")
    return len(shape) > axis + 1 and shape[axis] <= SMALL_AXIS and shape[-1] > 1


def one_at_a_time(op: Op) -> bool:
    """Is a map of elements lazy?"""
    return op.number("pack") == 1


# ---- in how many other places an op reads its operands ---------------------------------------------------------------
def once(op: Op) -> int:
    """A reshape."""
    return 1


def size_of_axis(op: Op) -> int:
    """A reduction that is written out."""
    return op.operands[0].type.shape[op.number("axis")]
