"""Pulling elements: ``eval(value, coords)`` writes the code for one element, or one vector, of a lazy tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .analysis import BITS, SHAPE_OPS, is_elementwise
from .emit import ZERO, Buffer, Coord, Coords, Emitter, Res, literal, llvm_type, size_of, stored
from .maths import VectorMath
from .ttir import Op, Value, unsupported

BINARY = {
    "arith.addf": "fadd contract", "arith.subf": "fsub contract", "arith.mulf": "fmul contract", "arith.divf": "fdiv",
    "tt.precise_divf": "fdiv", "arith.remf": "frem", "arith.addi": "add", "arith.subi": "sub", "arith.muli": "mul",
    "arith.andi": "and", "arith.ori": "or", "arith.xori": "xor", "arith.shli": "shl", "arith.shrsi": "ashr",
    "arith.shrui": "lshr",
}  # fmt: skip
INTRINSIC = {
    "arith.maxnumf": "maxnum", "arith.minnumf": "minnum", "arith.maximumf": "maximum", "arith.minimumf": "minimum",
    "arith.maxsi": "smax", "arith.minsi": "smin", "arith.maxui": "umax", "arith.minui": "umin",
    "tt.precise_sqrt": "sqrt", "math.sqrt": "sqrt", "math.absf": "fabs", "math.floor": "floor", "math.ceil": "ceil",
    "math.trunc": "trunc", "math.round": "round", "math.roundeven": "roundeven", "math.fma": "fma", "math.sin": "sin",
    "math.cos": "cos", "math.copysign": "copysign", "math.powf": "pow",
}  # fmt: skip
OWN = ("exp", "exp2", "log", "log2", "erf", "tanh")  # functions of maths.py
DIVISIONS = {"arith.divsi", "arith.remsi", "arith.divui", "arith.remui"}
CASTS = {
    "arith.extsi": "sext", "arith.extui": "zext", "arith.trunci": "trunc", "arith.sitofp": "sitofp",
    "arith.uitofp": "uitofp", "tt.int_to_ptr": "inttoptr", "tt.ptr_to_int": "ptrtoint",
}  # fmt: skip
SMALL_AXIS = 8  # a reduction of so few elements is written out inside of its reader's loop


def truth_of(x: str, type: str) -> str:
    """Stored bytes as i1. A trunc would do, but LLVM 22 for x86 drops the lanes' broadcast when such a mask is splat again."""
    zero = "zeroinitializer" if type.startswith("<") else "0"
    return f"icmp ne {type} {x}, {zero}"


class Pull(Emitter):
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
        return known or op.name in ("tt.load", "tt.make_range", "arith.constant", "tt.split")

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
        if is_elementwise(n):
            return self.apply(op, [self.eval(x, coords if x.type.shape else ()) for x in op.operands])
        raise unsupported(op)

    def constant(self, op: Op, v: Value, coords: Coords) -> Res:
        text = str(op.attrs["value"])
        if text.startswith("[") or text.startswith('"'):
            raise unsupported(op, "constant tensors with different elements are not supported")
        return Res(literal(text, v.type.elem), 0)

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
        known = dict(zip(block.args, [*a, *b], strict=True))
        for inner in block.ops[:-1]:
            if inner.name == "arith.constant":
                known[inner.results[0]] = self.constant(inner, inner.results[0], ())
                continue
            if not is_elementwise(inner.name):
                raise unsupported(inner, "only arithmetic is supported inside a reduction")
            args = [known[x] if x in known else self.eval(x) for x in inner.operands]
            known[inner.results[0]] = self.apply(inner, args)
        return [known[x] if x in known else self.eval(x) for x in block.ops[-1].operands]

    # ---- arithmetic --------------------------------------------------------------------------------------------
    def apply(self, op: Op, rs: list[Res]) -> Res:
        """One elementwise op on elements or vectors."""
        n, lvl, vl = op.name, max([r.lvl for r in rs], default=0), max([r.vl for r in rs], default=0)
        elem = op.operands[0].type.elem
        out = op.results[0].type.elem
        if simple := self._simplify(op, rs):
            return simple
        if n == "tt.addptr":
            return self._addptr(op, rs, lvl, vl)
        if n == "arith.select":
            test = f"{llvm_type('i1', rs[0].vl)} {rs[0].v}"
            t = llvm_type(out, vl)
            yes, no = self.widen(rs[1], out, vl), self.widen(rs[2], out, vl)
            return Res(self.let(lvl, f"select {test}, {t} {yes}, {t} {no}"), lvl, vl)
        xs = [self.widen(r, x.type.elem, vl) for r, x in zip(rs, op.operands, strict=True)]
        t = llvm_type(elem, vl)
        if n in BINARY:
            text = f"{BINARY[n]} {t} {xs[0]}, {xs[1]}"
        elif n in INTRINSIC:
            text = self._call(f"llvm.{INTRINSIC[n]}.{self.mangled(elem, vl)}", t, t, xs)
        elif n in ("arith.cmpi", "arith.cmpf"):
            text = f"{'icmp' if n[-1] == 'i' else 'fcmp'} {op.words()[0]} {t} {xs[0]}, {xs[1]}"
        elif n == "arith.negf":
            text = f"fneg {t} {xs[0]}"
        elif n in DIVISIONS:
            return self._divide(op, xs, lvl, vl)
        else:
            return Res(self._other(op, n, xs, lvl, vl), lvl, vl)
        return Res(self.let(lvl, text), lvl, vl)

    def mangled(self, elem: str, vl: int) -> str:
        return f"v{vl}{elem}" if vl else elem

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
        """Casts, functions, the rarer ops."""
        elem, out = op.operands[0].type.elem, op.results[0].type.elem
        t, to = llvm_type(elem, vl), llvm_type(out, vl)
        if n in CASTS and out != "bf16":
            return self.let(lvl, f"{CASTS[n]} {t} {xs[0]} to {to}") if elem != out else xs[0]
        if n in CASTS:  # an integer to bf16
            x = self.let(lvl, f"{CASTS[n]} {t} {xs[0]} to {llvm_type('f32', vl)}")
            return self.convert(x, "f32", "bf16", lvl, vl)
        if n in ("arith.extf", "arith.truncf", "tt.fp_to_fp"):
            return self.convert(xs[0], elem, out, lvl, vl)
        if n in ("arith.fptosi", "arith.fptoui"):
            return self._to_integer(n, xs[0], elem, out, lvl, vl)
        if n in ("tt.bitcast", "arith.bitcast"):
            if "i1" in (elem, out):
                return self.let(lvl, f"{'zext' if elem == 'i1' else 'trunc'} {t} {xs[0]} to {to}")
            return self.let(lvl, f"bitcast {t} {xs[0]} to {to}") if t != to else xs[0]
        if n == "arith.index_cast":
            grow = BITS.get(out, 64) > BITS.get(elem, 64)
            return self.let(lvl, f"{'sext' if grow else 'trunc'} {t} {xs[0]} to {to}")
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
        if n.startswith("math.") and n[5:] in OWN:
            return self._function(n[5:], xs[0], elem, lvl, vl)
        raise unsupported(op)

    def _function(self, name: str, x: str, elem: str, lvl: int, vl: int) -> str:
        if elem == "f64":
            if name == "erf":
                return self._each("erf", x, lvl, vl)
            t = llvm_type(elem, vl)
            return self.let(lvl, self._call(f"llvm.{name}.{self.mangled(elem, vl)}", t, t, [x]))
        wide = self.convert(x, elem, "f32", lvl, vl)
        y: str = getattr(VectorMath(self, lvl, vl), name)(wide)
        return self.convert(y, "f32", elem, lvl, vl)

    def _each(self, name: str, x: str, lvl: int, vl: int) -> str:
        """A function of the C library on each f64 lane."""
        call = self.intrinsic(name, "double", "double")
        if not vl:
            return self.let(lvl, f"{call}(double {x})")
        t, y = llvm_type("f64", vl), "poison"
        for k in range(vl):
            one = self.let(lvl, f"extractelement {t} {x}, i32 {k}")
            y = self.let(lvl, f"insertelement {t} {y}, double {self.let(lvl, f'{call}(double {one})')}, i32 {k}")
        return y

    def _to_integer(self, n: str, x: str, elem: str, out: str, lvl: int, vl: int) -> str:
        """Through a wider integer, so that no value in range of the unsigned type is undefined."""
        if elem in ("f16", "bf16"):
            x, elem = self.convert(x, elem, "f32", lvl, vl), "f32"
        through = "i32" if BITS[out] < 32 else "i64" if n == "arith.fptoui" else out
        if out == "i64" and n == "arith.fptoui":
            return self.let(lvl, f"fptoui {llvm_type(elem, vl)} {x} to {llvm_type(out, vl)}")
        wide = llvm_type(through, vl)
        y = self.let(lvl, f"fptosi {llvm_type(elem, vl)} {x} to {wide}")
        return y if through == out else self.let(lvl, f"trunc {wide} {y} to {llvm_type(out, vl)}")

    def convert(self, x: str, elem: str, out: str, lvl: int, vl: int) -> str:
        """Between float types, rounding to nearest even. bf16 by integer arithmetic: the instruction flushes subnormals."""
        if elem == out:
            return x
        t, f, i, h = (llvm_type(e, vl) for e in (elem, "f32", "i32", "i16"))

        def number(k: int) -> str:
            return f"splat (i32 {k})" if vl else str(k)

        if elem == "bf16":
            bits = self.let(lvl, f"zext {h} {self.let(lvl, f'bitcast {t} {x} to {h}')} to {i}")
            wide = self.let(lvl, f"bitcast {i} {self.let(lvl, f'shl {i} {bits}, {number(16)}')} to {f}")
            return self.convert(wide, "f32", out, lvl, vl)
        if out == "bf16":
            x = self.convert(x, elem, "f32", lvl, vl)
            bits = self.let(lvl, f"bitcast {f} {x} to {i}")
            odd = self.let(lvl, f"and {i} {self.let(lvl, f'lshr {i} {bits}, {number(16)}')}, {number(1)}")
            up = self.let(lvl, f"add {i} {bits}, {self.let(lvl, f'add {i} {odd}, {number(0x7FFF)}')}")
            nan = self.let(lvl, f"fcmp uno {f} {x}, {x}")
            quiet = self.let(lvl, f"or {i} {bits}, {number(0x400000)}")
            up = self.let(lvl, f"select {llvm_type('i1', vl)} {nan}, {i} {quiet}, {i} {up}")
            short = self.let(lvl, f"trunc {i} {self.let(lvl, f'lshr {i} {up}, {number(16)}')} to {h}")
            return self.let(lvl, f"bitcast {h} {short} to {llvm_type('bf16', vl)}")
        if {elem, out} == {"f16", "f64"}:  # one step would call a function of the compiler's library
            return self.convert(self.convert(x, elem, "f32", lvl, vl), "f32", out, lvl, vl)
        return self.let(lvl, f"{'fpext' if BITS[out] > BITS[elem] else 'fptrunc'} {t} {x} to {llvm_type(out, vl)}")

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
