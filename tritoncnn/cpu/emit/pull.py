"""Pulling elements: ``pull(code, value, coords)`` writes the code for one element, or one vector, of a lazy tensor."""

from __future__ import annotations

import math

import numpy as np

from tritoncnn.cpu.front.elements import llvm_type, stored
from tritoncnn.cpu.front.ttir import Op, Value, unsupported

from .scratch import read
from .state import State
from .values import ZERO, Buffer, Coords, Res


def is_lazy(code: State, op: Op) -> bool:
    """Does the op emit nothing until its result is read?"""
    return bool(op.results) and bool(op.results[0].type.shape) and code.row(op).lazy(op)


def pull(code: State, v: Value, coords: Coords = ()) -> Res:
    """Write element ``v[coords]``; a vector where a coordinate has lanes and v varies along it."""
    if v in code.scalars:
        return code.scalars[v]
    coords = tuple(c if n > 1 else ZERO for c, n in zip(coords, v.type.shape, strict=True))
    key = (v, coords)
    found = code.memo.get(key)
    if found is None:
        if v in code.buffers:
            found = read(code, code.buffers[v], coords)
        else:
            found = _static(code, v, coords) or compute(code, v, coords)
        code.memo[key] = found
    return found


def available(code: State, v: Value, seen: dict[Value, int] | None = None) -> int:
    """The outermost level at which v can be computed now."""
    seen = {} if seen is None else seen
    if v not in seen:
        if v in code.scalars:
            seen[v] = code.scalars[v].lvl
        elif v in code.buffers:
            seen[v] = code.buffers[v].lvl
        else:
            assert v.op is not None, v.name
            seen[v] = max([available(code, x, seen) for x in v.op.operands] + [code.floors.get(v, 0)])
    return seen[v]


def _static(code: State, v: Value, coords: Coords) -> Res | None:
    """A constant tensor: numbers, index arithmetic, or a read of a table in the module."""
    xs = code.facts.static(v)
    if xs is None or not v.type.shape:
        return None
    c = code.facts.const(v)
    if c is not None:
        return Res(str(int(c)), 0)
    if all(k.number is not None and not k.vl for k in coords):
        return Res(str(int(xs[tuple(k.number or 0 for k in coords)])), 0)
    elem = v.type.elem
    if elem == "i1" and (part := _part(code, xs, coords)) is not None and (part == part.flat[0]).all():
        return Res(str(int(part.flat[0])), 0)  # a mask in the part of a loop where it is all true, or all false
    strides = [code.facts.stride(v, d, n) for d, n in enumerate(v.type.shape)]
    first = int(xs.flat[0])
    if elem == "i32" and None not in strides and sum(1 for s in strides if s) == 1:
        d = next(d for d, s in enumerate(strides) if s)
        return code.index(code.times(coords[d], strides[d] or 0), first)
    if elem == "i1" or v.op is None or not code.row(v.op).elementwise:
        return None
    table = code.table(llvm_type(stored(elem)), [int(x) for x in xs.flat])
    steps = [math.prod(v.type.shape[d + 1 :]) if n > 1 else 0 for d, n in enumerate(v.type.shape)]
    return read(code, Buffer(table, v.type.shape, tuple(steps), elem, 0), coords)


def _part(code: State, xs: np.ndarray, coords: Coords) -> np.ndarray | None:
    """The elements that coords may mean, if their bounds are known."""
    slices = []
    for c in coords:
        span = code.spans.get(c.name) if c.number is None else (c.number, c.number)
        if span is None or c.step < 1:
            return None
        slices.append(slice(span[0], span[1] + max(c.vl - 1, 0) * c.step + 1))
    return xs[tuple(slices)]


def compute(code: State, v: Value, coords: Coords) -> Res:
    """What the op behind v computes there."""
    op = v.op
    assert op is not None, f"{v.name} is not known here"
    row = code.row(op)
    if row.pull is None:
        raise unsupported(op)
    return row.pull(code, op, v, coords)
