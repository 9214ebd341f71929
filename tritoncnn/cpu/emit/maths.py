"""f32 functions as vector code: exp, exp2, log, log2, erf, tanh, each within 1.5 units in the last place.

Sources: Cephes (Moshier) for the polynomials of exp, log and tanh; N. Juffa's erff for erf; scaling by powers of two in
two steps keeps subnormal results and overflow right. NaN goes in and comes out.
"""

from __future__ import annotations

from .vector import Vector, Writer

MAGIC = 12582912.0  # 1.5 * 2**23: adding it rounds to an integer, which then stands in the low bits


class VectorMath(Vector):
    """Writes f32 functions of f32 vectors."""

    def __init__(self, emitter: Writer, lvl: int, vl: int) -> None:
        super().__init__(emitter, lvl, vl, "f32")

    def _exp(self, x: str, rate: float, low: float, high: float, parts: tuple[float, ...]) -> str:
        """exp(x * ln(base)) with rate = log2(base); parts sum to 1/rate in exactly multiplied pieces, or () for base 2."""
        x = self.where("olt", x, self.c(low), self.c(low), x)
        x = self.where("ogt", x, self.c(high), self.c(high), x)
        rounded = self.fma(x, self.c(rate), self.c(MAGIC))
        k = self.op("fsub", rounded, self.c(MAGIC))
        if parts:
            r = x
            for part in parts:
                r = self.fma(k, self.c(-part), r)
        else:
            r = self.op("fmul", self.op("fsub", x, k), self.c(0.6931471805599453))
        p = self.horner(r, 1.3814599863e-3, 8.3687154121e-3, 4.1668387930e-2, 1.6666520643e-1, 4.9999993448e-1)
        y = self.op("fadd", self.fma(p, self.op("fmul", r, r), r), self.c(1.0))
        # 2**whole in two factors. MAGIC's own bits, also those of its half, leave on the left of an exponent.
        whole = self.bits(rounded)
        half = self.op("lshr", whole, self.n(1))
        y = self.op("fmul", y, self.power_of_two(half))
        return self.op("fmul", y, self.power_of_two(self.op("sub", whole, half)))

    def power_of_two(self, k: str) -> str:
        """2.0**k for an integer in the range of normal exponents; only its lowest 9 bits count."""
        return self.real(self.op("add", self.op("shl", k, self.n(23)), self.bits(self.c(1.0))))

    def exp(self, x: str) -> str:
        return self._exp(x, 1.4426950408889634, -104.0, 89.0, (0.693145751953125, 1.42860682030941723e-6))

    def exp2(self, x: str) -> str:
        return self._exp(x, 1.0, -151.0, 129.0, ())

    def _log_parts(self, x: str) -> tuple[str, str, str]:
        """x = 2**e * (1 + f), f in [sqrt(1/2) - 1, sqrt(2) - 1]: (e as f32, f, log(1 + f) - f)."""
        tiny = self.let(f"fcmp olt {self.t} {x}, {self.c(1.17549435e-38)}")
        scaled = self.op("fmul", x, self.c(2.0**23))
        x = self.let(f"select {self.b} {tiny}, {self.t} {scaled}, {self.t} {x}")
        bias = self.let(f"select {self.b} {tiny}, {self.i} {self.n(126 + 23)}, {self.i} {self.n(126)}")
        bits = self.bits(x)
        e = self.op("sub", self.op("and", self.op("lshr", bits, self.n(23)), self.n(255)), bias)
        m = self.real(self.op("or", self.op("and", bits, self.n(0x7FFFFF)), self.n(0x3F000000)))
        small = self.let(f"fcmp olt {self.t} {m}, {self.c(0.7071067811865476)}")
        e = self.op("sub", e, self.let(f"zext {self.b} {small} to {self.i}"))
        m = self.let(f"select {self.b} {small}, {self.t} {self.op('fadd', m, m)}, {self.t} {m}")
        f = self.op("fsub", m, self.c(1.0))
        z = self.op("fmul", f, f)
        p = self.horner(
            f, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
            -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
        )  # fmt: skip
        p = self.op("fmul", self.op("fmul", p, f), z)
        return self.let(f"sitofp {self.i} {e} to {self.t}"), f, self.fma(z, self.c(-0.5), p)

    def _log_edges(self, x: str, y: str) -> str:
        y = self.where("oeq", x, self.c(float("inf")), self.c(float("inf")), y)
        y = self.where("oeq", x, self.c(0.0), self.c(float("-inf")), y)
        return self.where("ult", x, self.c(0.0), self.c(float("nan")), y)

    def log(self, x: str) -> str:
        e, f, y = self._log_parts(x)
        y = self.fma(e, self.c(-2.12194440e-4), y)
        y = self.fma(e, self.c(0.693359375), self.op("fadd", f, y))
        return self._log_edges(x, y)

    def log2(self, x: str) -> str:
        e, f, y = self._log_parts(x)
        rest = 0.44269504088896340736  # log2(e) - 1
        z = self.fma(f, self.c(rest), self.op("fmul", y, self.c(rest)))
        z = self.op("fadd", self.op("fadd", self.op("fadd", z, y), f), e)
        return self._log_edges(x, z)

    def erf(self, a: str) -> str:
        t = self.call("fabs", a)
        s = self.op("fmul", a, a)
        r = self.fma(self.c(-1.72853470e-5), t, self.c(3.83197126e-4))
        r = self.fma(r, s, self.fma(self.c(-3.88396438e-3), t, self.c(2.42546219e-2)))
        for k in (-1.06777877e-1, -6.34846687e-1, -1.28717512e-1):
            r = self.fma(r, t, self.c(k))
        r = self.fma(r, t, self.let(f"fneg {self.t} {t}"))
        far = self.call("copysign", self.op("fsub", self.c(1.0), self.exp(r)), a)
        near = self.horner(
            s, -5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1
        )
        return self.where("ogt", t, self.c(0.927734375), far, self.fma(near, a, a))

    def tanh(self, x: str) -> str:
        t = self.call("fabs", x)
        s = self.op("fmul", x, x)
        e = self.exp(self.op("fadd", t, t))
        far = self.op("fsub", self.c(1.0), self.op("fdiv", self.c(2.0), self.op("fadd", e, self.c(1.0))))
        p = self.horner(s, -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
        near = self.fma(self.op("fmul", p, s), x, x)
        return self.call("copysign", self.where("olt", t, self.c(0.625), near, far), x)
