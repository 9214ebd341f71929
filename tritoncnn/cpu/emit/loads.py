"""Loads: plain, masked, broadcast or gathering; and reads of scratch and of tables in the module."""

from __future__ import annotations

from abc import abstractmethod

from tritoncnn.cpu.front.elements import literal, llvm_type, size_of, stored
from tritoncnn.cpu.front.ttir import Op, Value

from .arith import Arith
from .values import Buffer, Coords, Res


def truth_of(x: str, type: str) -> str:
    """Stored bytes as i1. A trunc would do, but LLVM 22 for x86 drops the lanes' broadcast when such a mask is splat again."""
    zero = "zeroinitializer" if type.startswith("<") else "0"
    return f"icmp ne {type} {x}, {zero}"


def zero(elem: str) -> str:
    """The literal whose bits are all 0."""
    return "null" if elem == "ptr" else literal("0", elem)


class Loads(Arith):
    """Writes what reads memory."""

    @abstractmethod
    def eval(self, v: Value, coords: Coords = ()) -> Res:
        """Element ``v[coords]``; a vector where a coordinate has lanes and v varies along it."""

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
        """A plain, masked, broadcast or gathering load; where its mask is false and no other value is given, 0."""
        p = op.operands[0]
        mask, other = (*op.operands[1:], None, None)[:2]
        v = op.results[0]
        elem, floor = v.type.elem, self.floors.get(v, 0)
        vl = max([c.vl for c in coords], default=0)
        first = tuple(c.first() for c in coords)
        step = self.lane_stride(p, coords)
        m = self.eval(mask, coords) if mask else Res("1")
        o = Res("poison") if m.v == "1" else self.eval(other, coords) if other else Res(zero(elem))
        if not m.vl and m.v == "0":
            return o
        self.remarks.access(self.facts, op, coords, step, m.v != "1")
        if step == 0 or not vl:
            return self._load_one(p, m, o, first, elem, floor)
        memory = llvm_type(stored(elem), vl)
        if step == 1:
            a = self.eval(p, first)
            lvl = max(a.lvl, m.lvl, o.lvl, floor)
            if not m.vl and (m.v == "1" or self.is_nothing(o, elem)):  # one mask for all lanes chooses an address
                at = (
                    a.v
                    if m.v == "1"
                    else self.let(lvl, f"select i1 {m.v}, ptr {a.v}, ptr {self.zeros(vl * size_of(elem))}")
                )
                x = self.let(lvl, f"load {memory}, ptr {at}, align {size_of(elem)}")
            else:
                x = self._masked_load(lvl, a.v, elem, vl, self.widen(m, "i1", vl), o)
        else:
            a = self.eval(p, coords)
            lvl = max(a.lvl, m.lvl, o.lvl, floor)
            x = self._gather(lvl, self.widen(a, "ptr", vl), elem, vl, self.widen(m, "i1", vl), o)
        if elem == "i1":
            x = self.let(lvl, truth_of(x, memory))
        return Res(x, lvl, vl)

    def is_nothing(self, other: Res, elem: str) -> bool:
        """Is what masked lanes read 0?"""
        return other.v in ("zeroinitializer", zero(elem))

    def _others(self, lvl: int, other: Res, elem: str, vl: int) -> str:
        """What masked lanes hold, as masked loads move it."""
        if self.is_nothing(other, elem):
            return "zeroinitializer"
        x, kind = self.widen(other, elem, vl), self.masked_kind(elem)
        if kind == elem or x == "poison":
            return x
        how = "zext" if elem == "i1" else "bitcast"
        return self.let(lvl, f"{how} {llvm_type(elem, vl)} {x} to {llvm_type(kind, vl)}")

    def _masked_load(self, lvl: int, p: str, elem: str, vl: int, mask: str, other: Res) -> str:
        kind = self.masked_kind(elem)
        memory = llvm_type(kind, vl)
        p = self.unless_empty(lvl, p, mask, vl, self.zeros(vl * size_of(elem)))
        call = self.intrinsic(
            f"llvm.masked.load.{self.mangled(kind, vl)}.p0", memory, "ptr", "i32", f"<{vl} x i1>", memory
        )
        rest = f"<{vl} x i1> {mask}, {memory} {self._others(lvl, other, elem, vl)}"
        return self._as_stored(lvl, self.let(lvl, f"{call}(ptr {p}, i32 {size_of(elem)}, {rest})"), elem, vl)

    def _gather(self, lvl: int, p: str, elem: str, vl: int, mask: str, other: Res) -> str:
        kind = self.masked_kind(elem)
        memory = llvm_type(kind, vl)
        name = f"llvm.masked.gather.{self.mangled(kind, vl)}.v{vl}p0"
        call = self.intrinsic(name, memory, f"<{vl} x ptr>", "i32", f"<{vl} x i1>", memory)
        rest = f"<{vl} x i1> {mask}, {memory} {self._others(lvl, other, elem, vl)}"
        x = self.let(lvl, f"{call}(<{vl} x ptr> {p}, i32 {size_of(elem)}, {rest})")
        return self._as_stored(lvl, x, elem, vl)

    def _as_stored(self, lvl: int, x: str, elem: str, vl: int) -> str:
        """What a masked load has moved, in the type that stored elements have."""
        kind = self.masked_kind(elem)
        if kind == stored(elem):
            return x
        return self.let(lvl, f"bitcast {llvm_type(kind, vl)} {x} to {llvm_type(elem, vl)}")

    def masked_kind(self, elem: str) -> str:
        """What masked loads and stores move: without AVX512-BF16, LLVM takes bf16 lane by lane, 16-bit integers at once."""
        return "i16" if elem in ("f16", "bf16") else stored(elem)

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
        if m.v == "1" or (not m.vl and self.is_nothing(o, elem)):  # masked, it has read zeros
            return Res(x, lvl)
        vl = max(m.vl, o.vl)
        lvl = max(lvl, o.lvl)
        t = llvm_type(elem, vl)
        yes, no = self.widen(Res(x, lvl), elem, vl), self.widen(o, elem, vl)
        return Res(self.let(lvl, f"select {llvm_type('i1', m.vl)} {m.v}, {t} {yes}, {t} {no}"), lvl, vl)
