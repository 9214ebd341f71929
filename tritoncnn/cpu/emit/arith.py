"""Arithmetic on one element, or one vector of elements, of any type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tritoncnn.cpu.facts.analysis import DIVISIONS
from tritoncnn.cpu.front.elements import BITS, FP8, literal, llvm_type, stored
from tritoncnn.cpu.front.table import ELEMENTWISE, of_kind
from tritoncnn.cpu.front.ttir import Op, Type, Value, unsupported

from .casts import CASTS, Casts
from .libdevice import FAST, WIDE, Libdevice, extern
from .maths import VectorMath
from .values import Res
from .wide import Wide

BINARY, INTRINSIC, SHIFTS = of_kind("binary"), of_kind("intrinsic"), of_kind("shift")
WRAPPING = {name for name, row in ELEMENTWISE.items() if row.wraps}
AS_IT_IS = {"arith.select", "tt.addptr", *CASTS}  # need no f32 in place of an 8-bit float
FUNCTIONS = {**{name: name for name in (*FAST, *WIDE)}, "powf": "pow"}


class Arith(Casts):
    """Writes elementwise ops."""

    def apply(self, op: Op, rs: list[Res]) -> Res:
        """One elementwise op on elements or vectors."""
        n, lvl, vl = op.name, max([r.lvl for r in rs], default=0), max([r.vl for r in rs], default=0)
        elem = op.operands[0].type.elem
        if elem in FP8 and n not in AS_IT_IS:
            return self._apply_wide(op, rs)
        out = op.results[0].type.elem
        if simple := self._simplify(op, rs):
            return simple
        if n == "tt.addptr":
            return self._addptr(op, rs, lvl, vl)
        if n == "arith.select":
            if rs[0].v in ("0", "1"):
                return rs[1] if rs[0].v == "1" else rs[2]
            test = f"{llvm_type('i1', rs[0].vl)} {rs[0].v}"
            t = llvm_type(out, vl)
            yes, no = self.widen(rs[1], out, vl), self.widen(rs[2], out, vl)
            return Res(self.let(lvl, f"select {test}, {t} {yes}, {t} {no}"), lvl, vl)
        xs = [self.widen(r, x.type.elem, vl) for r, x in zip(rs, op.operands, strict=True)]
        t = llvm_type(elem, vl)
        if n in BINARY:
            fits = " nsw" if n in WRAPPING and self.facts.fits(op.results[0]) else ""
            text = f"{BINARY[n]}{fits} {t} {xs[0]}, {xs[1]}"
        elif n in INTRINSIC:
            text = self._call(f"llvm.{INTRINSIC[n]}.{self.mangled(elem, vl)}", t, t, xs)
        elif n in ("arith.cmpi", "arith.cmpf"):
            text = f"{'icmp' if n[-1] == 'i' else 'fcmp'} {op.words()[0]} {t} {xs[0]}, {xs[1]}"
        elif n == "arith.negf":
            text = f"fneg {t} {xs[0]}"
        elif n in DIVISIONS:
            return self._divide(op, xs, lvl, vl)
        elif n in SHIFTS:
            return Res(self._shift(op, xs, lvl, vl), lvl, vl)
        elif n in CASTS:
            return Res(self.cast(op, xs[0], lvl, vl), lvl, vl)
        else:
            return Res(self._other(op, n, xs, lvl, vl), lvl, vl)
        return Res(self.let(lvl, text), lvl, vl)

    def _apply_wide(self, op: Op, rs: list[Res]) -> Res:
        """Arithmetic on 8-bit floats is done in f32 and rounded."""

        def twin(v: Value) -> Value:
            return Value(v.name, Type(v.type.shape, "f32" if v.type.elem in FP8 else v.type.elem), v.op, v.block)

        wide = replace(op, operands=[twin(x) for x in op.operands], results=[twin(op.results[0])])
        args = []
        for r, x in zip(rs, op.operands, strict=True):
            narrow = x.type.elem in FP8
            args.append(Res(self.convert(r.v, x.type.elem, "f32", r.lvl, r.vl), r.lvl, r.vl) if narrow else r)
        y, elem = self.apply(wide, args), op.results[0].type.elem
        return Res(self.convert(y.v, "f32", elem, y.lvl, y.vl), y.lvl, y.vl) if elem in FP8 else y

    def _shift(self, op: Op, xs: list[str], lvl: int, vl: int) -> str:
        """By the type's width or more: what is left is zeros, or the sign; LLVM leaves it open."""
        name, elem = SHIFTS[op.name], op.operands[0].type.elem
        t, bits = llvm_type(elem, vl), BITS[elem]
        found = self.facts.range(op.operands[1])
        if found and found[0] >= 0 and found[1] < bits:
            return self.let(lvl, f"{name} {t} {xs[0]}, {xs[1]}")
        most = f"splat ({elem} {bits - 1})" if vl else str(bits - 1)
        call = self.intrinsic(f"llvm.umin.{self.mangled(elem, vl)}", t, t, t)
        amount = self.let(lvl, f"{call}({t} {xs[1]}, {t} {most})")
        y = self.let(lvl, f"{name} {t} {xs[0]}, {amount}")
        if name == "ashr":
            return y
        fits = self.let(lvl, f"icmp ule {t} {xs[1]}, {most}")
        zero = "zeroinitializer" if vl else "0"
        return self.let(lvl, f"select {llvm_type('i1', vl)} {fits}, {t} {y}, {t} {zero}")

    def mangled(self, elem: str, vl: int) -> str:
        name = "i8" if elem in FP8 else elem
        return f"v{vl}{name}" if vl else name

    def _call(self, name: str, result: str, t: str, xs: Sequence[str]) -> str:
        return f"{self.intrinsic(name, result, *[t] * len(xs))}({', '.join(f'{t} {x}' for x in xs)})"

    def _simplify(self, op: Op, rs: list[Res]) -> Res | None:
        """What literals decide: masks mostly."""
        n = op.name
        if n in ("arith.andi", "arith.ori") and op.operands[0].type.elem == "i1":
            for a, b in ((rs[0], rs[1]), (rs[1], rs[0])):
                if not a.vl and a.v in ("0", "1"):
                    return b if (a.v == "1") == (n == "arith.andi") else a
        if n == "arith.cmpi":
            truth = self.facts.truth(op.results[0])
            return None if truth is None else Res(str(int(truth)))
        if n == "arith.select" and rs[0].constant and not rs[0].vl:
            return rs[1] if rs[0].v == "1" else rs[2]
        if n in ("arith.addi", "arith.muli", "arith.subi"):
            unit = "1" if n == "arith.muli" else "0"
            if rs[1].v == unit and not rs[1].vl:
                return rs[0]
            if rs[0].v == unit and not rs[0].vl and n != "arith.subi":
                return rs[1]
        if op.results[0].type.elem == op.operands[0].type.elem and n in ("tt.bitcast", "arith.bitcast", "tt.fp_to_fp"):
            return rs[0]
        return None

    def _addptr(self, op: Op, rs: list[Res], lvl: int, vl: int) -> Res:
        pointee = llvm_type(stored(op.results[0].type.pointee))
        p, i = rs
        index = llvm_type(op.operands[1].type.elem, i.vl)
        text = f"getelementptr {pointee}, {llvm_type('ptr', p.vl)} {p.v}, {index} {i.v}"
        return Res(self.let(lvl, text), lvl, vl) if i.v != "0" else p

    def _divide(self, op: Op, xs: list[str], lvl: int, vl: int) -> Res:
        """Integer division, for any divisor in lanes that nobody reads: a zero there must not trap."""
        n, elem = op.name, op.operands[0].type.elem
        t = llvm_type(elem, vl)
        divisor = self.facts.const(op.operands[1])
        signed = n.endswith("si")
        if all(self.facts.nonnegative(x) for x in op.operands):
            signed = False
        name = ("s" if signed else "u") + ("div" if "div" in n else "rem")
        if divisor in (None, 0, -1):
            one = f"splat ({elem} 1)" if vl else "1"
            zero = "zeroinitializer" if vl else "0"
            bits = BITS[elem]
            if vl and signed and bits <= 32:
                return Res(self._divide_real(op, xs, lvl, vl), lvl, vl)
            bad = self.let(lvl, f"icmp eq {t} {xs[1]}, {zero}")
            if signed:  # the smallest number over -1 traps too
                minus, least = "-1", str(-(1 << bits - 1))
                if vl:
                    minus, least = f"splat ({elem} {minus})", f"splat ({elem} {least})"
                m = self.let(lvl, f"icmp eq {t} {xs[1]}, {minus}")
                w = self.let(lvl, f"icmp eq {t} {xs[0]}, {least}")
                b = llvm_type("i1", vl)
                bad = self.let(lvl, f"or {b} {bad}, {self.let(lvl, f'and {b} {m}, {w}')}")
            xs[1] = self.let(lvl, f"select {llvm_type('i1', vl)} {bad}, {t} {one}, {t} {xs[1]}")
        return Res(self.let(lvl, f"{name} {t} {xs[0]}, {xs[1]}"), lvl, vl)

    def _divide_real(self, op: Op, xs: list[str], lvl: int, vl: int) -> str:
        """i32 division through f64, whose 53 bits make the truncated quotient exact; x86 has no vector division."""
        t, d = llvm_type(op.operands[0].type.elem, vl), llvm_type("f64", vl)
        a, b = (self.let(lvl, f"sitofp {t} {x} to {d}") for x in xs)
        wide = llvm_type("i64", vl)
        q = self._call(f"llvm.fptosi.sat.v{vl}i64.v{vl}f64", wide, d, [self.let(lvl, f"fdiv {d} {a}, {b}")])
        q = self.let(lvl, f"trunc {wide} {self.let(lvl, q)} to {t}")
        if "div" in op.name:
            return q
        return self.let(lvl, f"sub {t} {xs[0]}, {self.let(lvl, f'mul {t} {q}, {xs[1]}')}")

    def _other(self, op: Op, n: str, xs: list[str], lvl: int, vl: int) -> str:
        """Functions, the rarer ops."""
        elem = op.operands[0].type.elem
        t = llvm_type(elem, vl)
        if n == "tt.clampf":
            low, high = ("maximum", "minimum") if op.words()[-1] == "all" else ("maxnum", "minnum")
            x = self.let(lvl, self._call(f"llvm.{low}.{self.mangled(elem, vl)}", t, t, xs[:2]))
            return self.let(lvl, self._call(f"llvm.{high}.{self.mangled(elem, vl)}", t, t, [x, xs[2]]))
        if n == "tt.mulhiui":
            wide = llvm_type(f"i{2 * BITS[elem]}", vl)
            a, b = (self.let(lvl, f"zext {t} {x} to {wide}") for x in xs)
            shift = f"splat (i{2 * BITS[elem]} {BITS[elem]})" if vl else str(BITS[elem])
            high = self.let(lvl, f"lshr {wide} {self.let(lvl, f'mul {wide} {a}, {b}')}, {shift}")
            return self.let(lvl, f"trunc {wide} {high} to {t}")
        if n == "math.absi":
            call = self.intrinsic(f"llvm.abs.{self.mangled(elem, vl)}", t, t, "i1")
            return self.let(lvl, f"{call}({t} {xs[0]}, i1 false)")
        if n == "math.rsqrt":
            root = self.let(lvl, self._call(f"llvm.sqrt.{self.mangled(elem, vl)}", t, t, xs))
            one = literal("1.0", elem)
            return self.let(lvl, f"fdiv {t} {f'splat ({llvm_type(elem)} {one})' if vl else one}, {root}")
        if n.startswith("math.") and n[5:] in FUNCTIONS:
            return self._function(FUNCTIONS[n[5:]], xs, elem, lvl, vl)
        if n == "tt.extern_elementwise":
            return extern(self, op, xs, lvl, vl)
        raise unsupported(op)

    def _function(self, name: str, xs: list[str], elem: str, lvl: int, vl: int) -> str:
        """f64 is left to the C library, narrower types are computed in f32."""
        if elem == "f64":
            device = Libdevice(self, [elem] * len(xs), elem, lvl, vl)
            return device.call_symbol(f"__nv_{name}", xs) or ""
        wide = [self.convert(x, elem, "f32", lvl, vl) for x in xs]
        functions = VectorMath(self, lvl, vl) if name in FAST else Wide(self, lvl, vl)
        y: str = getattr(functions, name)(*wide)
        return self.convert(y, "f32", elem, lvl, vl)
