"""f32 functions computed in f64 vectors and rounded once: at most 0.51 units in the last place.

exp and log stand for many others: sinh, log1p, pow, asinh... Polynomials are fits of our own (least squares on Chebyshev
nodes, reweighted until errors are even), each within 5e-11 of what it stands for.
"""

from __future__ import annotations

import math

from tritoncnn.cpu.front.elements import llvm_type

from .doubles import MAGIC, Doubles

LN2 = 0.6931471805599453


class Wide(Doubles):
    """Exponentials, logarithms and lengths; public methods take and give f32, those named _x take and give f64."""

    # ---- exponentials ------------------------------------------------------------------------------------------------
    def _exp_parts(self, x: str) -> tuple[str, str]:
        """exp(x) = s * (1 + e): (s, e); x past +-200 gives what is past f32's range."""
        x = self.where("olt", x, self.c(-200.0), self.c(-200.0), x)
        x = self.where("ogt", x, self.c(200.0), self.c(200.0), x)
        rounded = self.fma(x, self.c(1 / LN2), self.c(MAGIC))
        k = self.sub(rounded, self.c(MAGIC))
        whole = self.op("sub", self.bits(rounded), self.bits(self.c(MAGIC)))
        r = self.fma(k, self.c(-LN2), x)
        p = self.horner(
            r, 2.4884532989618675e-05, 0.0001990763754804178, 0.0013888804087104222, 0.008333283435606537,
            0.04166666699660527, 0.1666666678668358, 0.49999999999639216, 0.9999999999954887,
        )  # fmt: skip
        scale = self.real(self.op("shl", self.op("add", whole, self.n(1023)), self.n(52)))
        return scale, self.mul(p, r)

    def _expm1(self, x: str) -> str:
        scale, e = self._exp_parts(x)
        return self.fma(scale, e, self.sub(scale, self.c(1.0)))

    def _exp(self, x: str) -> str:
        scale, e = self._exp_parts(x)
        return self.fma(scale, e, scale)

    def expm1(self, x: str) -> str:
        x = self.up(x)
        return self.down(self.where("oeq", x, self.c(0.0), x, self._expm1(x)))

    def exp10(self, x: str) -> str:
        return self.down(self._exp(self.mul(self.up(x), self.c(math.log(10)))))

    def sinh(self, x: str) -> str:
        x = self.up(x)
        e = self._expm1(self.call("fabs", x))
        y = self.mul(self.add(e, self.div(e, self.add(e, self.c(1.0)))), self.c(0.5))
        return self.down(self.call("copysign", y, x))

    def cosh(self, x: str) -> str:
        e = self._exp(self.call("fabs", self.up(x)))
        return self.down(self.mul(self.add(e, self.div(self.c(1.0), e)), self.c(0.5)))

    # ---- logarithms --------------------------------------------------------------------------------------------------
    def _log(self, x: str) -> str:
        """x = 2**e * m, sqrt(1/2) <= m < sqrt(2); log(m) = 2 atanh((m - 1) / (m + 1))."""
        bits = self.bits(x)
        e = self.op("ashr", self.op("sub", bits, self.n(0x3FE6A09E667F3BCD)), self.n(52))
        m = self.real(self.op("sub", bits, self.op("shl", e, self.n(52))))
        k = llvm_type("i32", self.vl)
        e = self.let(f"sitofp {k} {self.let(f'trunc {self.i} {e} to {k}')} to {self.t}")
        t = self.div(self.sub(m, self.c(1.0)), self.add(m, self.c(1.0)))
        z = self.mul(t, t)
        p = self.horner(
            z,
            0.19365911522690712,
            0.22191220511060425,
            0.28571757647184637,
            0.3999999878014141,
            0.6666666666739043,
            2.0,
        )
        y = self.fma(e, self.c(LN2), self.mul(t, p))
        y = self.where("oeq", x, self.c(math.inf), x, y)
        y = self.where("oeq", x, self.c(0.0), self.c(-math.inf), y)
        return self.where("ult", x, self.c(0.0), self.c(math.nan), y)

    def _log1p(self, x: str) -> str:
        """log(u) + (x - (u - 1)) / u with u = 1 + x rounded."""
        u = self.add(x, self.c(1.0))
        y = self._log(u)
        lost = self.div(self.sub(x, self.sub(u, self.c(1.0))), u)
        usual = self.both(self.test("ogt", u, self.c(0.0)), self.test("olt", u, self.c(math.inf)))
        y = self.pick(usual, self.add(y, lost), y)
        return self.where("oeq", x, self.c(0.0), x, y)

    def log1p(self, x: str) -> str:
        return self.down(self._log1p(self.up(x)))

    def log10(self, x: str) -> str:
        return self.down(self.mul(self._log(self.up(x)), self.c(1 / math.log(10))))

    def asinh(self, x: str) -> str:
        x = self.up(x)
        a = self.call("fabs", x)
        s = self.mul(a, a)
        more = self.div(s, self.add(self.sqrt(self.add(s, self.c(1.0))), self.c(1.0)))
        a = self.where("oeq", a, self.c(math.inf), a, self.add(a, more))
        return self.down(self.call("copysign", self._log1p(a), x))

    def acosh(self, x: str) -> str:
        t = self.sub(self.up(x), self.c(1.0))
        y = self._log1p(self.add(t, self.sqrt(self.mul(t, self.add(t, self.c(2.0))))))
        return self.down(self.where("olt", t, self.c(0.0), self.c(math.nan), y))

    def atanh(self, x: str) -> str:
        x = self.up(x)
        a = self.call("fabs", x)
        y = self._log1p(self.div(self.add(a, a), self.sub(self.c(1.0), a)))
        return self.down(self.call("copysign", self.mul(y, self.c(0.5)), x))

    def cbrt(self, x: str) -> str:
        x = self.up(x)
        a = self.call("fabs", x)
        y = self._exp(self.div(self._log(a), self.c(3.0)))
        y = self.where("oeq", a, self.c(math.inf), a, y)
        return self.down(self.call("copysign", self.where("ueq", a, self.c(0.0), a, y), x))

    def pow(self, x: str, y: str) -> str:
        """|x|**y = exp(y * log|x|); signs and the cases that IEEE 754 lists for ``pow``."""
        x, y = self.up(x), self.up(y)
        a, one, inf = self.call("fabs", x), self.c(1.0), self.c(math.inf)
        r = self._exp(self.mul(y, self._log(a)))
        r = self.where("oeq", a, one, one, r)  # 1**inf
        broken = self.test("une", self.call("floor", y), y)
        half = self.mul(y, self.c(0.5))
        odd = self.test("une", self.call("floor", half), half)
        r = self.pick(odd, self.pick(broken, r, self.call("copysign", r, x)), r)
        negative = self.both(self.test("olt", x, self.c(0.0)), self.test("one", a, inf))
        r = self.pick(self.both(negative, broken), self.c(math.nan), r)
        r = self.where("uno", x, y, self.c(math.nan), r)
        r = self.where("oeq", x, one, one, r)
        return self.down(self.where("oeq", y, self.c(0.0), one, r))

    # ---- lengths -----------------------------------------------------------------------------------------------------
    def _length(self, *xs: str) -> str:
        """Root of the sum of squares; an infinite side wins over NaN."""
        wide = [self.up(x) for x in xs]
        total = self.mul(wide[0], wide[0])
        for x in wide[1:]:
            total = self.fma(x, x, total)
        y = self.sqrt(total)
        for x in wide:
            a = self.call("fabs", x)
            y = self.where("oeq", a, self.c(math.inf), a, y)
        return y

    def hypot(self, *xs: str) -> str:
        return self.down(self._length(*xs))

    def rhypot(self, *xs: str) -> str:
        return self.down(self.div(self.c(1.0), self._length(*xs)))
