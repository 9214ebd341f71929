"""Pulling elements: ``eval(value, coords)`` writes the code for one element, or one vector, of a lazy tensor."""

from __future__ import annotations

import math

import numpy as np

from tritoncnn.cpu.facts.analysis import SHAPE_OPS
from tritoncnn.cpu.front.elements import llvm_type, stored
from tritoncnn.cpu.front.table import is_elementwise
from tritoncnn.cpu.front.ttir import Op, Value, unsupported

from .loads import zero
from .regions import Regions
from .values import ZERO, Buffer, Coord, Coords, Res

SMALL_AXIS = 8  # a reduction of so few elements is written out inside of its reader's loop


class Pull(Regions):
    """Elementwise ops, shape ops, loads and reads of buffers."""

    def is_lazy(self, op: Op) -> bool:
        """Does the op emit nothing until its result is read?"""
        if not op.results or not op.results[0].type.shape:
            return False
        if op.name == "tt.reduce":
            x = op.operands[0]
            axis = op.number("axis")
            return len(x.type.shape) > axis + 1 and x.type.shape[axis] <= SMALL_AXIS and x.type.shape[-1] > 1
        if op.name == "tt.reshape":
            return self._regroup(op) is not None
        if op.name == "tt.map_elementwise":
            return op.number("pack") == 1
        known = op.name in SHAPE_OPS or is_elementwise(op.name)
        return known or op.name in ("tt.load", "tt.make_range", "arith.constant", "tt.split", "ub.poison")

    # ---- reading -----------------------------------------------------------------------------------------------
    def eval(self, v: Value, coords: Coords = ()) -> Res:
        if v in self.scalars:
            return self.scalars[v]
        coords = tuple(c if n > 1 else ZERO for c, n in zip(coords, v.type.shape, strict=True))
        key = (v, coords)
        found = self.memo.get(key)
        if found is None:
            if v in self.buffers:
                found = self.read(self.buffers[v], coords)
            else:
                found = self._static(v, coords) or self._compute(v, coords)
            self.memo[key] = found
        return found

    def available(self, v: Value, seen: dict[Value, int] | None = None) -> int:
        """The outermost level at which v can be computed now."""
        seen = {} if seen is None else seen
        if v not in seen:
            if v in self.scalars:
                seen[v] = self.scalars[v].lvl
            elif v in self.buffers:
                seen[v] = self.buffers[v].lvl
            else:
                assert v.op is not None, v.name
                seen[v] = max([self.available(x, seen) for x in v.op.operands] + [self.floors.get(v, 0)])
        return seen[v]

    def _static(self, v: Value, coords: Coords) -> Res | None:
        """A constant tensor: numbers, index arithmetic, or a read of a table in the module."""
        xs = self.facts.static(v)
        if xs is None or not v.type.shape:
            return None
        c = self.facts.const(v)
        if c is not None:
            return Res(str(int(c)), 0)
        if all(k.number is not None and not k.vl for k in coords):
            return Res(str(int(xs[tuple(k.number or 0 for k in coords)])), 0)
        elem = v.type.elem
        if elem == "i1" and (part := self._part(xs, coords)) is not None and (part == part.flat[0]).all():
            return Res(str(int(part.flat[0])), 0)  # a mask in the part of a loop where it is all true, or all false
        strides = [self.facts.stride(v, d, n) for d, n in enumerate(v.type.shape)]
        first = int(xs.flat[0])
        if elem == "i32" and None not in strides and sum(1 for s in strides if s) == 1:
            d = next(d for d, s in enumerate(strides) if s)
            return self.index(self.times(coords[d], strides[d] or 0), first)
        if elem == "i1" or v.op is None or v.op.name in ("arith.constant", "tt.make_range") or v.op.name in SHAPE_OPS:
            return None
        table = self.table(llvm_type(stored(elem)), [int(x) for x in xs.flat])
        steps = [math.prod(v.type.shape[d + 1 :]) if n > 1 else 0 for d, n in enumerate(v.type.shape)]
        return self.read(Buffer(table, v.type.shape, tuple(steps), elem, 0), coords)

    def _part(self, xs: np.ndarray, coords: Coords) -> np.ndarray | None:
        """The elements that coords may mean, if their bounds are known."""
        slices = []
        for c in coords:
            span = self.spans.get(c.name) if c.number is None else (c.number, c.number)
            if span is None or c.step < 1:
                return None
            slices.append(slice(span[0], span[1] + max(c.vl - 1, 0) * c.step + 1))
        return xs[tuple(slices)]

    # ---- computing ---------------------------------------------------------------------------------------------
    def _compute(self, v: Value, coords: Coords) -> Res:
        op = v.op
        assert op is not None, f"{v.name} is not known here"
        n = op.name
        if n == "arith.constant":
            return self.constant(op, v, coords)
        if n == "ub.poison":
            return Res(zero(v.type.elem))  # any value would do
        if n == "tt.splat":
            return self.eval(op.operands[0])
        if n == "tt.make_range":
            return self.index(coords[0], op.number("start"))
        if n == "tt.load":
            return self.load(op, coords)
        if n in SHAPE_OPS:
            return self.eval(op.operands[0], self.source_coords(op, coords))
        if n == "tt.split":
            side = op.results.index(v)
            return self.eval(op.operands[0], (*coords, Coord(str(side))))
        if n == "tt.reduce":
            return self.small_reduce(op, v, coords)
        if n == "tt.map_elementwise":
            return self.map(op, v, coords)
        if is_elementwise(n):
            return self.apply(op, [self.eval(x, coords if x.type.shape else ()) for x in op.operands])
        raise unsupported(op)

    def source_coords(self, op: Op, coords: Coords) -> Coords:
        """Where a shape op's element comes from."""
        shape = op.operands[0].type.shape
        if op.name == "tt.expand_dims":
            axis = op.number("axis")
            return coords[:axis] + coords[axis + 1 :]
        if op.name == "tt.broadcast":
            return tuple(c if n > 1 else ZERO for c, n in zip(coords, shape, strict=True))
        if op.name == "tt.trans":
            order = op.attrs["order"]
            assert isinstance(order, list)
            return tuple(coords[order.index(d)] for d in range(len(shape)))
        groups = self._regroup(op)
        assert groups is not None
        source = []
        for part in groups:
            c = ZERO
            for d, weight in part:
                c = self._add_coords(c, self.times(coords[d], weight))
            source.append(c)
        return tuple(source)

    def _add_coords(self, a: Coord, b: Coord) -> Coord:
        """Sum of two indices of which one at most has lanes."""
        if b.vl and not a.vl:
            a, b = b, a
        return self.plus(a, b)

    def _regroup(self, op: Op) -> list[list[tuple[int, int]]] | None:
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
