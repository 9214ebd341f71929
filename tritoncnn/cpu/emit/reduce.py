"""tt.reduce, tt.scan and packed tt.map_elementwise, with any function and any number of operands."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tritoncnn.cpu.front.elements import llvm_type
from tritoncnn.cpu.front.ttir import Op, unsupported

from .stores import Stores
from .values import ZERO, Buffer, Coord, Coords, Res

MOST_SUMS = 16  # partial results that are kept in registers
CHAINS = 4  # independent partial results: a sum waits for an addition's latency otherwise


class Group:
    """Reductions of one shape and axis that are done in one loop."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self.ops = ops
        self.axis = ops[0].number("axis")
        self.operands = [x for op in ops for x in op.operands]
        self.results = [r for op in ops for r in op.results]
        self.elems = [x.type.elem for x in self.operands]
        self.shape = self.operands[0].type.shape

    def types(self, vl: int) -> list[str]:
        return [llvm_type(elem, vl) for elem in self.elems]


class Reduce(Stores):
    """Reductions that are not written out inside of their reader."""

    def reduce(self, ops: Sequence[Op]) -> None:
        """Results go to scalars or buffers."""
        op = Group(ops)
        shape, axis = op.shape, op.axis
        others = [d for d in range(len(shape)) if d != axis and shape[d] > 1]
        votes = [self.vector_axis(x) for x in op.operands]
        lanes_on = votes[0] if votes[0] != axis else None
        if lanes_on is None and others and shape[axis] < self.lanes <= max(shape[d] for d in others):
            lanes_on = max(others, key=lambda d: (min(shape[d], self.lanes), d))
        if lanes_on is not None and lanes_on in others:
            self._reduce_lanes_kept(op, axis, lanes_on)
        else:
            self._reduce_lanes_merged(op, axis)

    def combined(self, group: Group, a: Sequence[Res], b: Sequence[Res]) -> list[Res]:
        """Each reduction's combiner on its own operands."""
        found, at = [], 0
        for op in group.ops:
            part = slice(at, at + len(op.operands))
            found += self.combine(op, a[part], b[part])
            at = part.stop
        return found

    def _outputs(self, op: Group, vaxis: int | None) -> list[Buffer]:
        return [self.new_buffer(r, vaxis) for r in op.results] if op.results[0].type.shape else []

    def _along(self, op: Group, start: list[Res], coords: Coords, axis: int, vl: int, first: int, step: int, stop: int,
               width: int) -> list[Res]:  # fmt: skip
        """Combine start with the elements first, first + step, ... < stop of the axis; ``width`` lanes lie on the axis."""
        elems = op.elems

        def body(c: Coord, args: list[str]) -> Sequence[str]:
            at = Coord(c.name, c.lvl, width)
            xs = [self.eval(x, (*coords[:axis], at, *coords[axis + 1 :])) for x in op.operands]
            level = self.depth
            known = [Res(a, level, vl) for a in args]
            merged = self.combined(
                op, known, [Res(self.widen(x, e, vl), x.lvl, vl) for x, e in zip(xs, elems, strict=True)]
            )
            return [self.widen(m, e, vl) for m, e in zip(merged, elems, strict=True)]

        carried = list(
            zip(op.types(vl), [self.widen(s, e, vl) for s, e in zip(start, elems, strict=True)], strict=True)
        )
        found = self.loop(first, stop, step, body, carried)
        return [Res(f, self.depth, vl) for f in found]

    def _reduce_lanes_kept(self, op: Group, axis: int, vaxis: int) -> None:
        """Lanes run along another axis: one chain of vectors per result vector."""
        shape = op.shape
        out_axis = vaxis - (vaxis > axis)
        outputs = self._outputs(op, out_axis)

        def one(coords: Coords) -> None:
            inner = (*coords[:axis], ZERO, *coords[axis:])
            vl = inner[vaxis].vl
            start = [self.eval(x, inner) for x in op.operands]
            found = self._along(op, start, inner, axis, vl, 1, 1, shape[axis], 0)
            for b, f in zip(outputs, found, strict=True):
                self.write(b, coords, f)

        self.nest(op.results[0].type.shape, out_axis, one)
        self.buffers.update(zip(op.results, outputs, strict=True))

    def _reduce_lanes_merged(self, op: Group, axis: int) -> None:
        """Lanes run along the reduced axis: partial results, merged at the end in halves."""
        size = op.shape[axis]
        vl = min(self.lanes, size)
        vl = 0 if vl == 1 else vl
        width = max(vl, 1)
        chains = CHAINS if size >= 2 * CHAINS * width and len(op.operands) * CHAINS <= MOST_SUMS else 1
        outputs = self._outputs(op, None)

        def one(coords: Coords) -> None:
            inner = (*coords[:axis], ZERO, *coords[axis:])
            start = []
            for k in range(chains):
                at = (*inner[:axis], Coord(str(k * width), 0, vl), *inner[axis + 1 :])
                start.append([self.eval(x, at) for x in op.operands])
            merged = self._chains(op, start, inner, axis, vl, width, size)
            for k in range(1, chains):
                merged[0] = self.combined(op, merged[0], merged[k])
            final = self._halves(op, merged[0], vl)
            for b, f in zip(outputs, final, strict=False):
                self.write(b, coords, f)
            if not outputs:
                self.scalars.update(zip(op.results, final, strict=True))

        self.nest(op.results[0].type.shape, None, one)
        self.buffers.update(zip(op.results, outputs, strict=False))

    def _chains(self, op: Group, start: list[list[Res]], coords: Coords, axis: int, vl: int, width: int,
                size: int) -> list[list[Res]]:  # fmt: skip
        """Several chains in one loop."""
        elems, n = op.elems, len(op.operands)

        def body(c: Coord, args: list[str]) -> Sequence[str]:
            out: list[str] = []
            for k in range(len(start)):
                at = self.plus(Coord(c.name, c.lvl, vl), k * width)
                xs = [self.eval(x, (*coords[:axis], at, *coords[axis + 1 :])) for x in op.operands]
                known = [Res(a, self.depth, vl) for a in args[k * n : k * n + n]]
                wide = [Res(self.widen(x, e, vl), x.lvl, vl) for x, e in zip(xs, elems, strict=True)]
                out += [self.widen(m, e, vl) for m, e in zip(self.combined(op, known, wide), elems, strict=True)]
            return out

        carried = [(t, self.widen(s, e, vl)) for row in start for t, s, e in zip(op.types(vl), row, elems, strict=True)]
        step = len(start) * width
        ends = [e for e in sorted(set(self.peel(op.operands, axis, step))) if step < e < size]
        found = [start for _, start in carried]
        for lo, hi in itertools.pairwise((step, *ends, size)):
            found = self.loop(lo, hi, step, body, [(t, x) for (t, _), x in zip(carried, found, strict=True)])
        return [[Res(f, self.depth, vl) for f in found[k * n : k * n + n]] for k in range(len(start))]

    def _halves(self, op: Group, rs: list[Res], vl: int) -> list[Res]:
        """The lanes of vectors, combined."""
        if not vl:
            return rs
        elems = op.elems
        wide = [Res(self.widen(r, e, vl), r.lvl, vl) for r, e in zip(rs, elems, strict=True)]
        lanes = vl
        while lanes > 1:
            half = lanes // 2

            def part(r: Res, elem: str, start: int, lanes: int = lanes, half: int = half) -> Res:
                t = llvm_type(elem, lanes)
                picks = ", ".join(f"i32 {start + k}" for k in range(half))
                text = f"shufflevector {t} {r.v}, {t} poison, <{half} x i32> <{picks}>"
                return Res(self.let(self.depth, text), self.depth, half)

            low = [part(r, e, 0) for r, e in zip(wide, elems, strict=True)]
            high = [part(r, e, half) for r, e in zip(wide, elems, strict=True)]
            merged = self.combined(op, low, high)
            wide = [Res(self.widen(m, e, half), m.lvl, half) for m, e in zip(merged, elems, strict=True)]
            lanes = half
        return [
            Res(self.let(self.depth, f"extractelement {llvm_type(e, 1)} {r.v}, i32 0"), self.depth)
            for r, e in zip(wide, elems, strict=True)
        ]

    def scan(self, op: Op) -> None:
        """Prefix sums and the like: in order along the axis, lanes along another axis where there is one."""
        shape = op.operands[0].type.shape
        axis, size = op.number("axis"), op.operands[0].type.shape[op.number("axis")]
        others = [d for d in range(len(shape)) if d != axis and shape[d] > 1]
        vaxis = others[-1] if others else None
        outputs = [self.new_buffer(r, vaxis) for r in op.results]
        elems = [x.type.elem for x in op.operands]
        backwards = str(op.attrs.get("reverse")) == "true"

        def one(coords: Coords) -> None:
            vl = max([c.vl for d, c in enumerate(coords) if d != axis], default=0)

            def at(c: Coord) -> Coords:
                return (*coords[:axis], c, *coords[axis + 1 :])

            def put(c: Coord, rs: list[Res]) -> list[str]:
                for b, r in zip(outputs, rs, strict=True):
                    self.write(b, at(c), r)
                return [self.widen(r, e, vl) for r, e in zip(rs, elems, strict=True)]

            def body(c: Coord, args: list[str]) -> list[str]:
                if backwards:
                    flipped = self.let(c.lvl, f"sub i32 {size - 1}, {c.name}")
                    c = Coord(flipped, c.lvl)
                xs = [self.eval(x, at(c)) for x in op.operands]
                return put(c, self.combine(op, [Res(a, self.depth, vl) for a in args], xs))

            edge = Coord(str(size - 1 if backwards else 0))
            start = put(edge, [self.eval(x, at(edge)) for x in op.operands])
            self.loop(1, size, 1, body, list(zip([llvm_type(e, vl) for e in elems], start, strict=True)))

        outer = tuple(1 if d == axis else n for d, n in enumerate(shape))
        self.nest(outer, vaxis, one)
        self.buffers.update(zip(op.results, outputs, strict=True))

    def map_packs(self, op: Op) -> None:
        """``tl.map_elementwise`` of several neighbours along the last axis at a time, into scratch."""
        pack, blocks, shape = op.number("pack"), op.regions[0], op.results[0].type.shape
        if shape[-1] % pack:
            raise unsupported(op, f"pack must divide the last axis of {list(shape)}; got {pack}")
        outputs = [self.new_buffer(r) for r in op.results]

        def one(coords: Coords) -> None:
            at = [(*coords[:-1], self.plus(self.times(coords[-1], pack), k)) for k in range(pack)]
            args = [self.eval(x, c) for x in op.operands for c in at]
            found = self.region_of(op, blocks, dict(zip(blocks[0].args, args, strict=True)))
            for n, r in enumerate(found):
                self.write(outputs[n // pack], at[n % pack], r)

        self.nest((*shape[:-1], shape[-1] // pack), len(shape) - 1, one)
        self.buffers.update(zip(op.results, outputs, strict=True))
