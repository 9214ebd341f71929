"""sin, cos, tan and their inverses of f32, computed in f64 vectors and rounded once, as in ``wide.py``.

sin and cos: Cody and Waite's reduction in two pieces of pi/2 up to 2**30, above that Payne and Hanek's with a table of
2**e * 2/pi (mod 4). The inverses go by atan2.
"""

from __future__ import annotations

import functools
import math

from tritoncnn.cpu.front.elements import float_literal, llvm_type

from .doubles import MAGIC, Doubles
from .vector import FunctionText

QUARTER = (1.5707963267948966, 6.123233995736766e-17)  # pi/2 in two pieces
FAR = 2.0**30  # where two pieces of pi/2 are too few
_TWO_OVER_PI = 0xA2F9836E4E441529FC2757D1F534DDC0DB6295993C439041FE5163ABDEBBC561  # 256 bits after the point


@functools.lru_cache
def _turns() -> tuple[tuple[str, ...], ...]:
    """2**e * 2/pi (mod 4) for e from 0 to 104, as literals: 28 bits, the next 29 and the next 53. Row 105: infinity."""
    rows = []
    for e in range(105):
        left = (_TWO_OVER_PI << e) % (1 << 258)
        row = []
        for end in (26, 55, 108):  # bits after the point
            part = left >> 256 - end
            row.append(float_literal(math.ldexp(part, -end), "f64"))
            left -= part << 256 - end
        rows.append(tuple(row))
    return (*rows, (float_literal(0.0, "f64"),) * 3)


class Circles(Doubles):
    """Circular functions; public methods take and give f32, those named _x take and give f64."""

    def _reduced(self, x: str) -> tuple[str, str]:
        """x = k * pi/2 + r for |x| up to FAR: (r, k)."""
        k = self.sub(self.fma(x, self.c(1 / QUARTER[0]), self.c(MAGIC)), self.c(MAGIC))
        r = self.fma(k, self.c(-QUARTER[0]), x)
        return self.fma(k, self.c(-QUARTER[1]), r), k

    def _reduced_far(self, x: str) -> tuple[str, str]:
        """The same for any f32: x = m * 2**e with a whole m of 24 bits; each product with a table's part is exact."""
        i32 = llvm_type("i32", self.vl)

        def n(value: int) -> str:
            return f"splat (i32 {value})" if self.vl else str(value)

        bits = self.let(f"bitcast {self.f} {x} to {i32}")
        e = self.let(f"and {i32} {self.let(f'lshr {i32} {bits}, {n(23)}')}, {n(255)}")
        e = self.let(f"sub {i32} {e}, {n(150)}")
        most = self.emitter.intrinsic(f"llvm.smax.{f'v{self.vl}i32' if self.vl else 'i32'}", i32, i32, i32)
        e = self.let(f"{most}({i32} {e}, {i32} {n(0)})")
        m = self.let(f"or {i32} {self.let(f'and {i32} {bits}, {n(0x7FFFFF)}')}, {n(0x800000)}")
        m = self.let(f"sitofp {i32} {m} to {self.t}")
        tables = [self.emitter.table("double", part) for part in zip(*_turns(), strict=True)]
        a, b, c = (self.mul(m, self._looked_up(table, e)) for table in tables)
        a = self.sub(a, self.mul(self.call("rint", self.mul(a, self.c(0.25))), self.c(4.0)))
        k = self.call("rint", self.add(self.add(a, b), c))
        f = self.add(self.add(self.sub(a, k), b), c)
        sign = self.call("copysign", self.c(1.0), self.up(x))
        return self.mul(self.mul(f, self.c(QUARTER[0])), sign), self.mul(k, sign)

    def _looked_up(self, table: str, at: str) -> str:
        if not self.vl:
            return self.let(f"load double, ptr {self.let(f'getelementptr double, ptr {table}, i32 {at}')}")
        pointers, mask = f"<{self.vl} x ptr>", f"<{self.vl} x i1>"
        places = self.let(f"getelementptr double, ptr {table}, {llvm_type('i32', self.vl)} {at}")
        name = f"llvm.masked.gather.v{self.vl}f64.v{self.vl}p0"
        call = self.emitter.intrinsic(name, self.t, pointers, "i32", mask, self.t)
        return self.let(f"{call}({pointers} {places}, i32 8, {mask} splat (i1 true), {self.t} poison)")

    def _waves(self, r: str, k: str) -> tuple[str, str]:
        """(sin, cos) of k * pi/2 + r, |r| <= pi/4."""
        s = self.mul(r, r)
        p = (2.7250209228619946e-06, -0.00019840089772359986, 0.008333331883826591, -0.1666666666392086, 1.0)
        q = (-2.7237258411680865e-07, 2.479986384527598e-05, -0.001388888509900718, 0.04166666663752203,
             -0.4999999999996442, 1.0)  # fmt: skip
        sin, cos = self.mul(r, self.horner(s, *p)), self.horner(s, *q)
        turn = self.bits(self.add(k, self.c(MAGIC)))
        odd = self.let(f"trunc {self.i} {turn} to {self.b}")
        found = []
        for quarter, even_part, odd_part in ((0, sin, cos), (1, cos, sin)):
            y = self.bits(self.pick(odd, odd_part, even_part))
            minus = self.op("and", self.op("add", turn, self.n(quarter)), self.n(2))
            found.append(self.real(self.op("xor", y, self.op("shl", minus, self.n(62)))))
        return found[0], found[1]

    def _circle(self, name: str, x: str) -> str:
        """sin, cos or tan, as a function of the module: its rare far branch needs blocks of its own."""
        function = f"{name}.{self.vl or 1}"
        lines = FunctionText(self.emitter)
        inner = Circles(lines, 0, self.vl)
        wide = inner.up("%x")
        far = any_far = inner.test("oge", inner.call("fabs", wide), inner.c(FAR))
        near = inner._reduced(wide)
        if self.vl:
            call = lines.intrinsic(f"llvm.vector.reduce.or.v{self.vl}i1", "i1", self.b)
            any_far = inner.let(f"{call}({self.b} {far})")
        lines.lines += [f"  br i1 {any_far}, label %far, label %near", "far:"]
        both = [inner.pick(far, f, n) for f, n in zip(inner._reduced_far("%x"), near, strict=True)]
        lines.lines += ["  br label %near", "near:"]
        r, k = (inner.let(f"phi {self.t} [ {n}, %entry ], [ {f}, %far ]") for n, f in zip(near, both, strict=True))
        sin, cos = inner._waves(r, k)
        y = sin if name == "sin" else cos if name == "cos" else inner.div(sin, cos)
        y = inner.down(inner.where("oeq", inner.call("fabs", wide), inner.c(math.inf), inner.c(math.nan), y))
        head = f"define internal {self.f} @{function}({self.f} %x) #0 {{\nentry:"
        self.emitter.define(function, "\n".join([head, *lines.lines, f"  ret {self.f} {y}", "}"]))
        return self.let(f"call {self.f} @{function}({self.f} {x})")

    def sin(self, x: str) -> str:
        return self._circle("sin", x)

    def cos(self, x: str) -> str:
        return self._circle("cos", x)

    def tan(self, x: str) -> str:
        return self._circle("tan", x)

    def _half_turns(self, x: str) -> tuple[str, str]:
        """sin and cos of pi * x: whole quarters are taken off exactly."""
        x = self.up(x)
        x = self.sub(x, self.mul(self.call("rint", self.mul(x, self.c(0.5))), self.c(2.0)))
        k = self.call("rint", self.add(x, x))
        return self._waves(self.mul(self.sub(self.add(x, x), k), self.c(QUARTER[0])), k)

    def sinpi(self, x: str) -> str:
        return self.down(self._half_turns(x)[0])

    def cospi(self, x: str) -> str:
        return self.down(self._half_turns(x)[1])

    def _atan2(self, y: str, x: str) -> str:
        a, b = self.call("fabs", y), self.call("fabs", x)
        swap = self.test("ogt", a, b)
        low, high = self.pick(swap, b, a), self.pick(swap, a, b)
        q = self.where("oeq", low, high, self.c(1.0), self.div(low, high))
        q = self.where("oeq", high, self.c(0.0), self.c(0.0), q)
        big = self.test("ogt", q, self.c(0.41421356237309503))
        t = self.pick(big, self.div(self.sub(q, self.c(1.0)), self.add(q, self.c(1.0))), q)
        p = self.horner(
            self.mul(t, t), -0.04052300559547134, 0.07140045845496484, -0.09029904506827167, 0.11107577980640322,
            -0.14285615881165395, 0.19999998967436777, -0.333333333315614, 1.0,
        )  # fmt: skip
        r = self.add(self.mul(t, p), self.pick(big, self.c(math.pi / 4), self.c(0.0)))
        r = self.pick(swap, self.sub(self.c(math.pi / 2), r), r)
        back = self.let(f"icmp slt {self.i} {self.bits(x)}, {'zeroinitializer' if self.vl else '0'}")
        r = self.pick(back, self.sub(self.c(math.pi), r), r)
        return self.where("uno", x, y, self.c(math.nan), self.call("copysign", r, y))

    def atan2(self, y: str, x: str) -> str:
        return self.down(self._atan2(self.up(y), self.up(x)))

    def atan(self, x: str) -> str:
        return self.down(self._atan2(self.up(x), self.c(1.0)))

    def _cofactor(self, x: str) -> str:
        return self.sqrt(self.mul(self.sub(self.c(1.0), x), self.add(self.c(1.0), x)))

    def asin(self, x: str) -> str:
        x = self.up(x)
        return self.down(self._atan2(x, self._cofactor(x)))

    def acos(self, x: str) -> str:
        x = self.up(x)
        return self.down(self._atan2(self._cofactor(x), x))
