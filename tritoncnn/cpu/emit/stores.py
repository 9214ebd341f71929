"""Stores and atomic operations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from tritoncnn.cpu.front.elements import FLOATS, llvm_type, size_of, stored
from tritoncnn.cpu.front.ttir import Op, Value, unsupported

from .transpose import Transpose
from .values import Coords, Res

ATOMIC = {"add": "add", "fadd": "fadd", "and": "and", "or": "or", "xor": "xor", "max": "max", "min": "min",
          "umax": "umax", "umin": "umin", "exch": "xchg"}  # fmt: skip


def rank(v: Value) -> int:
    return len([n for n in v.type.shape if n > 1])


class Stores(Transpose):
    """What writes the kernel's own memory."""

    def give_up(self) -> None:
        """End the function early, because the program failed."""
        self.emit("ret void" if self.result == "void" else f"ret {self.result} zeroinitializer")

    # ---- stores ------------------------------------------------------------------------------------------------
    def stores(self, group: Sequence[Op]) -> None:
        """Stores of one shape, in one loop nest."""
        spare = [load.results[0] for s in group for x in s.operands for load in self.loads_under(x, set())]
        last, p = group[-1], group[0].operands[0]
        self.force_loads(last, [v for v in spare if not self.wanted_after(v, last)])
        if not p.type.shape:
            for s in group:
                self.store_element(s, ())
            return
        for _, load in self.conflicts(group):
            if rank(load.results[0]) < rank(p):
                self.materialise(load.results[0])  # a row of biases: cheaper than the whole value
        conflicts = self.conflicts(group)
        apart = self.apart(group, [load for _, load in conflicts])
        if not conflicts or apart == "1":
            self.store_nest(group)
            return

        def afterwards() -> None:
            for x, _ in conflicts:
                if x not in self.buffers:
                    axis = self.vector_axis(x)
                    b = self.new_buffer(x, axis)
                    self.fill(b, x, axis)
                    self.buffers[x] = b
            self.store_nest(group)

        if apart is None:
            afterwards()
        else:
            self.either(apart, lambda: self.store_nest(group), afterwards)

    def apart(self, group: Sequence[Op], loads: Sequence[Op]) -> str | None:
        """An i1: the stores go to other tensors than the loads read. None: that can't be seen from addresses."""
        stored_to = dict.fromkeys(
            self.address(s.operands[0])[0] for s in group
        )  # in order: the same code in every process
        read = dict.fromkeys(self.address(load.operands[0])[0] for load in loads)
        test = "1"
        for a, b in itertools.product(stored_to, read):
            if a is b or a not in self.tensors or b not in self.tensors:
                return None
            assert a is not None
            assert b is not None
            differ = self.let(0, f"icmp ne ptr {self.scalars[a].v}, {self.scalars[b].v}")
            test = differ if test == "1" else self.let(0, f"and i1 {test}, {differ}")
        return test

    def store_nest(self, group: Sequence[Op]) -> None:
        p = group[0].operands[0]
        vaxis, flat = self.store_axis(p)
        if flat and len(group) == 1 and (axis := self.read_axis(group[0].operands[1], vaxis)) is not None:
            self.store_transposed(group[0], axis, vaxis)
            return
        ends = self.peel([x for s in group for x in s.operands], vaxis, self.lanes)
        self.nest(p.type.shape, vaxis, lambda c: self.store_vectors(group, c), cuts=ends)

    def store_axis(self, p: Value) -> tuple[int, bool]:
        """The axis to store along, and whether addresses are contiguous there."""
        shape = p.type.shape
        widths = {d: min(self.lanes, n) for d, n in enumerate(shape)}
        flat = [d for d, n in enumerate(shape) if n > 1 and self.facts.stride(p, d, widths[d]) == 1]
        if flat:
            return max(flat, key=lambda d: (widths[d], d)), True
        return max(range(len(shape)), key=lambda d: (widths[d], d)), False

    def store_transposed(self, s: Op, axis: int, vaxis: int) -> None:
        """A transposition, by squares: read along ``axis``, written along ``vaxis``."""
        mask = s.operands[2] if len(s.operands) > 2 else None

        def put(coords: Coords, x: str) -> None:
            m = self.eval(mask, coords) if mask else Res("1")
            if m.v != "0":
                self.store_vector(s, coords, m, x)

        self.squares(s.operands[1], axis, vaxis, put)

    def store_vectors(self, group: Sequence[Op], coords: Coords) -> None:
        """One vector of each store; all values are computed before the first is written."""
        ready = []
        for s in group:
            mask = s.operands[2] if len(s.operands) > 2 else None
            m = self.eval(mask, coords) if mask else Res("1")
            if m.v == "0":
                continue
            ready.append((s, m, self.eval(s.operands[1], coords)))
        vl = max(c.vl for c in coords)
        for s, m, x in ready:
            if vl and (m.vl or self.lane_stride(s.operands[0], coords) != 0):
                self.store_vector(s, coords, m, self.widen(x, s.operands[1].type.elem, vl))
            else:
                self.store_element(s, coords)

    def store_vector(self, s: Op, coords: Coords, m: Res, x: str) -> None:
        """A vector under a mask."""
        p, elem, vl = s.operands[0], s.operands[1].type.elem, max(c.vl for c in coords)
        step = self.lane_stride(p, coords)
        self.remarks.access(self.facts, s, coords, step, m.v != "1")
        value, memory = self.to_memory(x, elem, vl), llvm_type(stored(elem), vl)
        masks = self.widen(m, "i1", vl)
        if step == 1:
            a = self.eval(p, tuple(c.first() for c in coords))
            if not m.vl:  # one mask for all lanes chooses an address
                spare = self.spare(vl * size_of(elem)) if m.v != "1" else ""
                to = self.let(self.depth, f"select i1 {m.v}, ptr {a.v}, ptr {spare}") if spare else a.v
                self.emit(f"store {memory} {value}, ptr {to}, align {size_of(elem)}")
                return
            to = self.unless_empty(self.depth, a.v, masks, vl, self.spare(vl * size_of(elem)))
            kind = self.masked_kind(elem)
            if size_of(elem) < 4:
                masks = self.unknown(masks, vl)
            if kind != stored(elem):
                value = self.let(self.depth, f"bitcast {memory} {value} to {llvm_type(kind, vl)}")
                memory = llvm_type(kind, vl)
            name = f"llvm.masked.store.{self.mangled(kind, vl)}.p0"
            call = self.intrinsic(name, "void", memory, "ptr", "i32", f"<{vl} x i1>")
            self.emit(f"{call}({memory} {value}, ptr {to}, i32 {size_of(elem)}, <{vl} x i1> {masks})")
            return
        a = self.eval(p, coords)
        name = f"llvm.masked.scatter.{self.mangled(stored(elem), vl)}.v{vl}p0"
        call = self.intrinsic(name, "void", memory, f"<{vl} x ptr>", "i32", f"<{vl} x i1>")
        where = f"<{vl} x ptr> {self.widen(a, 'ptr', vl)}, i32 {size_of(elem)}"
        self.emit(f"{call}({memory} {value}, {where}, <{vl} x i1> {masks})")

    def unknown(self, masks: str, vl: int) -> str:
        """The mask, kept from LLVM 22 for x86: a narrowed vector's masked store of one known lane overwrites the next ones."""
        key = "unknown"
        if key not in self.memo:
            zero = self.let(0, f"load volatile i8, ptr {self.zeros(8)}")
            self.memo[key] = Res(self.let(0, f"icmp eq i8 {zero}, 0"), 0)
        yes = self.widen(self.memo[key], "i1", vl)
        return self.let(self.depth, f"and <{vl} x i1> {masks}, {yes}")

    def spare(self, size: int) -> str:
        """Scratch that masked stores without a lane may point at; nothing is ever written."""
        if size not in self.spares:
            self.spares[size] = self.alloca("i8", size)
        return self.spares[size]

    def to_memory(self, x: str, elem: str, vl: int) -> str:
        if elem != "i1":
            return x
        return self.let(self.depth, f"zext {llvm_type('i1', vl)} {x} to {llvm_type('i8', vl)}")

    def store_element(self, s: Op, coords: Coords) -> None:
        """One element, if its mask is true; the last lane's where all lanes share an address."""
        p, x, mask = (*s.operands, None)[:3]
        assert p is not None
        assert x is not None
        lanes = any(c.vl for c in coords)
        first = tuple(self.plus(c.first(), (c.vl - 1) * c.step) if c.vl else c for c in coords)
        a, value = self.eval(p, first), self.eval(x, first)
        m = self.eval(mask, first) if mask else Res("1")
        elem = x.type.elem
        self.remarks.element(s, m.v != "1", "all lanes write to one address" if lanes else "its block has one element")

        def put() -> None:
            stored_value = self.to_memory(value.v, elem, 0)
            self.emit(f"store {llvm_type(stored(elem))} {stored_value}, ptr {a.v}, align {size_of(elem)}")

        self.when(m.v, put)

    def when(self, condition: str, body: Callable[[], None]) -> None:
        """Run code under an i1."""
        if condition == "1":
            body()
        elif condition != "0":
            k = self.fresh("I")[1:]
            self.emit(f"br i1 {condition}, label %{k}t, label %{k}e")
            self.label(f"{k}t")
            body()
            self.emit(f"br label %{k}e")
            self.label(f"{k}e")

    def either(self, condition: str, yes: Callable[[], None], no: Callable[[], None]) -> None:
        """One of two pieces of code, each a level of its own."""
        k = self.fresh("E")[1:]
        parts = []
        for body in (yes, no):
            self.push()
            body()
            parts.append(self.pop())
        self.stack[-1] += [f"  br i1 {condition}, label %{k}t, label %{k}f", f"{k}t:", *parts[0], f"  br label %{k}e"]
        self.stack[-1] += [f"{k}f:", *parts[1], f"  br label %{k}e", f"{k}e:"]

    # ---- atomics -----------------------------------------------------------------------------------------------
    def atomic(self, op: Op) -> None:
        """Read-modify-write or compare-and-swap, element by element in order."""
        p, r = op.operands[0], op.results[0]
        swap = op.name == "tt.atomic_cas"
        mask = op.operands[2] if not swap and len(op.operands) > 2 else None
        elem = op.operands[1].type.elem
        kind = None if swap else ATOMIC.get(op.words()[0])
        if not swap and kind is None:
            raise unsupported(op, f"atomic {op.words()[0]!r} is not known")
        self.force_loads(op)
        for x in op.operands:
            if x.type.shape and self.loads_under(x, set()):
                self.materialise(x)
        out = self.new_buffer(r) if r.type.shape and r.users else None
        kept = self.alloca(llvm_type(elem)) if not r.type.shape and r.users else None
        t = llvm_type(elem)
        self.remarks.element(
            op, mask is not None and self.facts.truth(mask) is not True, "atomics go an element at a time, in order"
        )

        def one(coords: Coords) -> None:
            a, *xs = (self.eval(x, coords if x.type.shape else ()).v for x in op.operands)

            def go() -> None:
                d = self.depth
                if swap:
                    bits = t if elem not in FLOATS else f"i{size_of(elem) * 8}"
                    args = [x if bits == t else self.let(d, f"bitcast {t} {x} to {bits}") for x in xs]
                    pair = self.let(d, f"cmpxchg ptr {a}, {bits} {args[0]}, {bits} {args[1]} seq_cst seq_cst")
                    old = self.let(d, f"extractvalue {{ {bits}, i1 }} {pair}, 0")
                    old = old if bits == t else self.let(d, f"bitcast {bits} {old} to {t}")
                else:
                    old = self.let(d, f"atomicrmw {kind} ptr {a}, {t} {xs[0]} acq_rel")
                if out is not None:
                    self.write(out, coords, Res(old, d))
                if kept is not None:
                    self.emit(f"store {t} {old}, ptr {kept}")

            self.when(xs[1] if mask else "1", go)

        if p.type.shape:
            self.nest(p.type.shape, None, one)
        else:
            one(())
        if out is not None:
            self.buffers[r] = out
        elif kept is not None:
            self.scalars[r] = Res(self.let(self.depth, f"load {t}, ptr {kept}"), self.depth)
