"""Pulling elements: ``eval(value, coords)`` writes the code for one element, or one vector, of a lazy tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .analysis import SHAPE_OPS, constant_elements, is_elementwise
from .arith import Arith
from .emit import ZERO, Buffer, Coord, Coords, Res, literal, llvm_type, size_of, stored
from .ttir import Block, Op, Value, unsupported

SMALL_AXIS = 8  # a reduction of so few elements is written out inside of its reader's loop


def truth_of(x: str, type: str) -> str:
    """Stored bytes as i1. A trunc would do, but LLVM 22 for x86 drops the lanes' broadcast when such a mask is splat again."""
    zero = "zeroinitializer" if type.startswith("<") else "0"
    return f"icmp ne {type} {x}, {zero}"


class Pull(Arith):
    """Elementwise ops, shape ops, loads and reads of buffers."""

    def __init__(self, lanes: int) -> None:
        super().__init__(lanes)
        self.floors: dict[Value, int] = {}  # a load may not move out of the level at which its op stands

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
        known = op.name in SHAPE_OPS or is_elementwise(op.name)
        return known or op.name in ("tt.load", "tt.make_range", "arith.constant", "tt.split", "tt.map_elementwise")

    # ---- reading -----------------------------------------------------------------------------------------------
    def eval(self, v: Value, coords: Coords = ()) -> Res:
        """Element ``v[coords]``; a vector where a coordinate has lanes and v varies along it."""
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

    def read(self, b: Buffer, coords: Coords) -> Res:
        """A vector (or scalar) of a buffer."""
        lanes = [d for d, c in enumerate(coords) if c.vl and b.strides[d]]
        p = self.element(Res(b.ptr, b.lvl), b.elem, coords, b.strides)
        vl = coords[lanes[0]].vl if lanes else 0
        type = llvm_type(stored(b.elem), vl)
        if not lanes or b.strides[lanes[0]] * coords[lanes[0]].step == 1:
            x = self.let(p.lvl, f"load {type}, ptr {p.v}, align {size_of(b.elem)}")
        else:
            step = b.strides[lanes[0]] * coords[lanes[0]].step
            x = self._read_spread(p, b.elem, vl, step)
        if b.elem == "i1":
            x = self.let(p.lvl, truth_of(x, type))
        return Res(x, p.lvl, vl)

    def _read_spread(self, p: Res, elem: str, vl: int, step: int) -> str:
        """Lanes that lie step elements apart, one scalar load each: scratch is in L1, gathers are slow."""
        type, vector, x = llvm_type(stored(elem)), llvm_type(stored(elem), vl), "poison"
        for k in range(vl):
            at = self.offset(p, elem, k * step)
            one = self.let(p.lvl, f"load {type}, ptr {at.v}, align {size_of(elem)}")
            x = self.let(p.lvl, f"insertelement {vector} {x}, {type} {one}, i32 {k}")
        return x

    # ---- computing ---------------------------------------------------------------------------------------------
    def _compute(self, v: Value, coords: Coords) -> Res:
        op = v.op
        assert op is not None, f"{v.name} is not known here"
        n = op.name
        if n == "arith.constant":
            return self.constant(op, v, coords)
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
            return self._small_reduce(op, v, coords)
        if n == "tt.map_elementwise":
            return self._map(op, v, coords)
        if is_elementwise(n):
            return self.apply(op, [self.eval(x, coords if x.type.shape else ()) for x in op.operands])
        raise unsupported(op)

    def constant(self, op: Op, v: Value, coords: Coords) -> Res:
        """A number, or a read of a table in the module where elements differ."""
        elem = v.type.elem
        xs = [literal(text, elem) for text in constant_elements(op)]
        if len(xs) == 1:
            return Res(xs[0], 0)
        shape = v.type.shape
        steps = tuple(math.prod(shape[d + 1 :]) if n > 1 else 0 for d, n in enumerate(shape))
        return self.read(Buffer(self.table(llvm_type(stored(elem)), xs), shape, steps, elem, 0), coords)

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

    def _small_reduce(self, op: Op, v: Value, coords: Coords) -> Res:
        """A reduction along a short axis, written out."""
        axis = op.number("axis")
        rows = [
            [self.eval(x, (*coords[:axis], Coord(str(k)), *coords[axis:])) for x in op.operands]
            for k in range(op.operands[0].type.shape[axis])
        ]
        while len(rows) > 1:  # in pairs: shorter chains
            pairs = [self.combine(op, a, b) for a, b in zip(rows[::2], rows[1::2], strict=False)]
            rows = pairs + ([rows[-1]] if len(rows) % 2 else [])
        for result, r in zip(op.results, rows[0], strict=True):
            shape = result.type.shape
            self.memo[result, tuple(c if n > 1 else ZERO for c, n in zip(coords, shape, strict=True))] = r
        return rows[0][op.results.index(v)]

    def combine(self, op: Op, a: Sequence[Res], b: Sequence[Res]) -> list[Res]:
        """The combiner region of a reduce or scan on elements (or vectors)."""
        block = op.regions[0][0]
        return self.straight(op, block, dict(zip(block.args, [*a, *b], strict=True)))

    def _map(self, op: Op, v: Value, coords: Coords) -> Res:
        """``tl.map_elementwise``: a region of any number of operands and results, an element at a time."""
        block = op.regions[0][0]
        if op.number("pack") != 1 or len(op.regions[0]) != 1:
            raise unsupported(op, "only pack=1 and functions that return once are supported")
        args = [self.eval(x, coords if x.type.shape else ()) for x in op.operands]
        for result, r in zip(
            op.results, self.straight(op, block, dict(zip(block.args, args, strict=True))), strict=True
        ):
            self.memo[result, coords] = r
        return self.memo[v, coords]

    def straight(self, op: Op, block: Block, known: dict[Value, Res]) -> list[Res]:
        """What a block of elementwise ops yields; both sides of a branch are computed, and one is selected."""
        for inner in block.ops[:-1]:
            if inner.name == "arith.constant":
                known[inner.results[0]] = self.constant(inner, inner.results[0], ())
            elif inner.name == "scf.if":
                known.update(zip(inner.results, self._selected(op, inner, known), strict=True))
            elif is_elementwise(inner.name):
                args = [known[x] if x in known else self.eval(x) for x in inner.operands]
                known[inner.results[0]] = self.apply(inner, args)
            else:
                raise unsupported(inner, f"only arithmetic and branches are supported inside of {op.name}")
        return [known[x] if x in known else self.eval(x) for x in block.ops[-1].operands]

    def _selected(self, op: Op, branch: Op, known: dict[Value, Res]) -> list[Res]:
        """The results of an ``scf.if`` without side effects; its condition may differ from lane to lane."""
        if len(branch.regions) != 2 or any(len(region) != 1 for region in branch.regions):
            raise unsupported(branch, f"a branch inside of {op.name} must have two sides that yield values")
        x = branch.operands[0]
        test = known[x] if x in known else self.eval(x)
        sides = [self.straight(op, region[0], dict(known)) for region in branch.regions]
        found = []
        for r, yes, no in zip(branch.results, *sides, strict=True):
            lvl, vl = max(test.lvl, yes.lvl, no.lvl), max(test.vl, yes.vl, no.vl)
            t, elem = llvm_type(r.type.elem, vl), r.type.elem
            pick = f"select {llvm_type('i1', test.vl)} {test.v}, {t} {self.widen(yes, elem, vl)}"
            found.append(Res(self.let(lvl, f"{pick}, {t} {self.widen(no, elem, vl)}"), lvl, vl))
        return found

    # ---- loads -------------------------------------------------------------------------------------------------
    def lane_stride(self, v: Value, coords: Coords) -> int | None:
        """Step of v from lane to lane."""
        for d, c in enumerate(coords):
            if c.vl and v.type.shape and v.type.shape[d] > 1:
                if c.step == 1:
                    return self.facts.stride(v, d, c.vl)
                s = self.facts.stride(v, d, v.type.shape[d])
                return None if s is None else s * c.step
        return 0

    def load(self, op: Op, coords: Coords) -> Res:
        """A plain, masked, broadcast or gathering load."""
        p = op.operands[0]
        mask, other = (*op.operands[1:], None, None)[:2]
        v = op.results[0]
        elem, floor = v.type.elem, self.floors.get(v, 0)
        vl = max([c.vl for c in coords], default=0)
        first = tuple(c.first() for c in coords)
        step = self.lane_stride(p, coords)
        m = self.eval(mask, coords) if mask else Res("1")
        if not m.vl and m.v == "0":
            return (
                self.eval(other, coords) if other else Res("zeroinitializer" if elem == "ptr" else literal("0", elem))
            )
        o = self.eval(other, coords) if other and m.v != "1" else Res("poison")
        if step == 0 or not vl:
            return self._load_one(p, m, o, first, elem, floor)
        memory = llvm_type(stored(elem), vl)
        if step == 1:
            a = self.eval(p, first)
            lvl = max(a.lvl, m.lvl, o.lvl, floor)
            if m.v == "1":
                x = self.let(lvl, f"load {memory}, ptr {a.v}, align {size_of(elem)}")
            else:
                x = self._masked_load(lvl, a.v, elem, vl, self.widen(m, "i1", vl), self.widen(o, elem, vl))
        else:
            a = self.eval(p, coords)
            lvl = max(a.lvl, m.lvl, o.lvl, floor)
            masks, others = self.widen(m, "i1", vl), self.widen(o, elem, vl)
            name = f"llvm.masked.gather.{self.mangled(stored(elem), vl)}.v{vl}p0"
            call = self.intrinsic(name, memory, f"<{vl} x ptr>", "i32", f"<{vl} x i1>", memory)
            where = f"<{vl} x ptr> {self.widen(a, 'ptr', vl)}, i32 {size_of(elem)}"
            x = self.let(lvl, f"{call}({where}, <{vl} x i1> {masks}, {memory} {others})")
        if elem == "i1":
            x = self.let(lvl, truth_of(x, memory))
        return Res(x, lvl, vl)

    def _masked_load(self, lvl: int, p: str, elem: str, vl: int, mask: str, other: str) -> str:
        memory = llvm_type(stored(elem), vl)
        if elem == "i1" and other.startswith("%"):
            other = self.let(lvl, f"zext <{vl} x i1> {other} to {memory}")
        other = other.replace("(i1 ", "(i8 ")
        p = self.unless_empty(lvl, p, mask, vl, self.zeros(vl * size_of(elem)))
        call = self.intrinsic(
            f"llvm.masked.load.{self.mangled(stored(elem), vl)}.p0", memory, "ptr", "i32", f"<{vl} x i1>", memory
        )
        return self.let(lvl, f"{call}(ptr {p}, i32 {size_of(elem)}, <{vl} x i1> {mask}, {memory} {other})")

    def unless_empty(self, lvl: int, p: str, mask: str, vl: int, spare: str) -> str:
        """The address, or a spare one where no lane is wanted: x86 takes 200 ns to find that an address off the map is masked."""
        if not mask.startswith("%"):
            return p
        bits = self.let(lvl, f"bitcast <{vl} x i1> {mask} to i{vl}")
        some = self.let(lvl, f"icmp ne i{vl} {bits}, 0")
        return self.let(lvl, f"select i1 {some}, ptr {p}, ptr {spare}")

    def _load_one(self, p: Value, m: Res, o: Res, first: Coords, elem: str, floor: int) -> Res:
        """One element for all lanes; where the mask is false its address is not touched."""
        a = self.eval(p, first if p.type.shape else ())
        lvl = max(a.lvl, m.lvl, floor)
        memory, address = llvm_type(stored(elem)), a.v
        if m.v != "1":
            wanted = m.v
            if m.vl:
                call = self.intrinsic(f"llvm.vector.reduce.or.v{m.vl}i1", "i1", f"<{m.vl} x i1>")
                wanted = self.let(lvl, f"{call}(<{m.vl} x i1> {m.v})")
            address = self.let(lvl, f"select i1 {wanted}, ptr {address}, ptr {self.zeros(8)}")
        x = self.let(lvl, f"load {memory}, ptr {address}, align {size_of(elem)}")
        if elem == "i1":
            x = self.let(lvl, truth_of(x, "i8"))
        if m.v == "1" or o.v == "poison":
            return Res(x, lvl)
        vl = max(m.vl, o.vl)
        lvl = max(lvl, o.lvl)
        t = llvm_type(elem, vl)
        yes, no = self.widen(Res(x, lvl), elem, vl), self.widen(o, elem, vl)
        return Res(self.let(lvl, f"select {llvm_type('i1', m.vl)} {m.v}, {t} {yes}, {t} {no}"), lvl, vl)
