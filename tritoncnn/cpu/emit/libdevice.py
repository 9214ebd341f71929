"""``tt.extern_elementwise``: the functions of NVIDIA's libdevice, by their symbols, as CPU code.

f32 functions are vector code (maths.py, wide.py) where one is listed there; the rest, and all of f64, are the C library's
for each lane. f32 goes through f64 there, so that the result is rounded once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from tritoncnn.cpu.front.elements import BITS, llvm_type
from tritoncnn.cpu.front.ttir import Op, unsupported

from .casts import convert, toward_zero
from .circles import Circles
from .maths import VectorMath
from .state import State
from .vector import Vector, Writer
from .wide import Wide

INSTRUCTIONS = {"fabs": "fabs", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "sqrt": "sqrt", "fma": "fma",
                "copysign": "copysign", "rint": "rint", "nearbyint": "rint", "round": "round"}  # fmt: skip
BASIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "fdivide": "fdiv", "fmod": "frem"}
FAST = {"exp", "exp2", "log", "log2", "erf", "tanh"}  # of maths.py
CIRCULAR = {"sin", "cos", "tan", "sinpi", "cospi", "asin", "acos", "atan", "atan2"}  # of circles.py
WIDE = {*CIRCULAR, "sinh", "cosh", "asinh", "acosh", "atanh", "expm1", "exp10", "log1p", "log10", "pow", "cbrt", "hypot",
        "rhypot"}  # fmt: skip
C_LIBRARY = {*FAST, *WIDE, "erfc", "tgamma", "lgamma", "j0", "j1", "y0", "y1", "remainder", "fdim", "logb"}
C_LIBRARY -= {"sinpi", "cospi", "exp10", "rhypot"}  # not in every C library
WITH_INTEGER = {"ldexp": "ldexp", "scalbn": "ldexp", "powi": "pow", "jn": "jn", "yn": "yn"}
ROUNDINGS = {"rn": "rint", "rz": "trunc", "rd": "floor", "ru": "ceil"}
INTEGERS = {"int": ("s", "i32"), "uint": ("u", "i32"), "ll": ("s", "i64"), "ull": ("u", "i64")}
BITWISE = re.compile(r"u?(int|longlong|float|double)_as_u?(int|longlong|float|double)")


def extern(code: State, op: Op, xs: Sequence[str], lvl: int, vl: int) -> str:
    """The result of an ``tt.extern_elementwise``. Raises UnsupportedError for a symbol that has no counterpart here."""
    symbol = str(op.attrs["symbol"])
    kinds = [x.type.elem for x in op.operands]
    found = Libdevice(code, kinds, op.results[0].type.elem, lvl, vl).call_symbol(symbol, list(xs))
    if found is None:
        raise unsupported(op, f"the CPU backend has no function {symbol!r}")
    return found


def in_doubles(code: Writer, name: str, xs: Sequence[str], lvl: int, vl: int) -> str:
    """A function of circles.py or wide.py, by its name there."""
    functions = Circles(code, lvl, vl) if name in CIRCULAR else Wide(code, lvl, vl)
    y: str = getattr(functions, name)(*xs)
    return y


def plain_name(symbol: str, kinds: Sequence[str]) -> str:
    """__nv_sinf and __nv_sin -> sin; __nv_fadd_rn -> add."""
    name = symbol.removeprefix("__nv_").removeprefix("fast_")
    if match := re.fullmatch(r"[fd](add|sub|mul|div|sqrt|rcp|rsqrt)_rn|(fma)f?_rn", name):
        return match[1] or match[2]
    if re.fullmatch(r"(isnan|isinf|isfinite|signbit|finite)[fd]", name):
        return name[:-1].removeprefix("is") if "finite" in name else name[:-1]
    return name.removesuffix("f") if "f32" in kinds else name


class Libdevice(Vector):
    """One call of a libdevice function. ``elem`` is the float type in which it computes."""

    def __init__(self, code: State, kinds: Sequence[str], out: str, lvl: int, vl: int) -> None:
        super().__init__(code, lvl, vl, "f64" if "f64" in (*kinds, out) else "f32")
        self.code, self.kinds, self.out = code, kinds, out
        self.to = llvm_type(out, vl)

    def call_symbol(self, symbol: str, xs: list[str]) -> str | None:
        name = plain_name(symbol, self.kinds)
        if not symbol.startswith("__nv_"):
            return None
        if name in INSTRUCTIONS:
            return self.call(INSTRUCTIONS[name], *xs)
        if name in BASIC:
            return self.op(BASIC[name], *xs)
        if self.elem == "f32" and name in FAST:
            fast: str = getattr(VectorMath(self.code, self.lvl, self.vl), name)(xs[0])
            return fast
        if self.elem == "f32" and (name in WIDE or re.fullmatch(r"r?norm[34]d", name)):
            method = "rhypot" if name[0] == "r" else "hypot" if name[0] == "n" else name
            return in_doubles(self.code, method, xs, self.lvl, self.vl)
        if name in C_LIBRARY:
            return self.from_library(name, xs, self.kinds)
        if name in WITH_INTEGER:
            return self.with_integer(WITH_INTEGER[name], xs)
        return self.test_of(name, xs) or self.formula(name, xs) or self.conversion(name, xs) or self.integer(name, xs)

    # ---- floats ------------------------------------------------------------------------------------------------------
    def from_library(self, name: str, xs: Sequence[str], kinds: Sequence[str]) -> str:
        """A function of the C library on f64 (and i32), for each lane."""
        wide = [
            convert(self.code, x, e, "f64", self.lvl, self.vl) if e == "f32" else x
            for x, e in zip(xs, kinds, strict=True)
        ]
        types = [llvm_type("f64" if e == "f32" else e) for e in kinds]
        y = self.each(name, "double", wide, types)
        return convert(self.code, y, "f64", "f32", self.lvl, self.vl) if self.out == "f32" else y

    def each(self, name: str, result: str, xs: Sequence[str], types: Sequence[str]) -> str:
        call = self.emitter.intrinsic(name, result, *types)
        if not self.vl:
            return self.let(f"{call}({', '.join(f'{t} {x}' for t, x in zip(types, xs, strict=True))})")
        y = "poison"
        for k in range(self.vl):
            lanes = [self.let(f"extractelement <{self.vl} x {t}> {x}, i32 {k}") for t, x in zip(types, xs, strict=True)]
            one = self.let(f"{call}({', '.join(f'{t} {x}' for t, x in zip(types, lanes, strict=True))})")
            y = self.let(f"insertelement <{self.vl} x {result}> {y}, {result} {one}, i32 {k}")
        return y

    def with_integer(self, name: str, xs: list[str]) -> str:
        if name == "pow":
            i, d = llvm_type("i32", self.vl), llvm_type("f64", self.vl)
            return self.from_library(name, [xs[0], self.let(f"sitofp {i} {xs[1]} to {d}")], [self.kinds[0], "f64"])
        return self.from_library(name, xs, self.kinds)

    def test_of(self, name: str, xs: list[str]) -> str | None:
        """Questions are answered by an i32 of 0 or 1."""
        inf, x = self.c(math.inf), xs[0]
        if name == "isnan":
            found = self.test("uno", x, x)
        elif name == "isinf":
            found = self.test("oeq", self.call("fabs", x), inf)
        elif name == "finite":
            found = self.test("olt", self.call("fabs", x), inf)
        elif name == "signbit":
            found = self.let(f"icmp slt {self.i} {self.bits(x)}, {'zeroinitializer' if self.vl else '0'}")
        else:
            return None
        return self.let(f"zext {self.b} {found} to {self.to}")

    def formula(self, name: str, xs: list[str]) -> str | None:
        """What a line of other functions makes."""
        one = self.c(1.0)
        if name in ("rsqrt", "rcp"):
            return self.op("fdiv", one, self.call("sqrt", xs[0]) if name == "rsqrt" else xs[0])
        if name == "saturate":  # NaN becomes 0
            return self.call("minnum", self.call("maxnum", xs[0], self.c(0.0)), one)
        if name == "rcbrt":
            return self.op("fdiv", one, self.call_symbol("__nv_cbrtf" if self.elem == "f32" else "__nv_cbrt", xs) or "")
        if name == "normcdf":
            d = llvm_type("f64", self.vl)
            factors = Vector(self.emitter, self.lvl, self.vl, "f64")
            wide = convert(self.code, xs[0], self.elem, "f64", self.lvl, self.vl)
            wide = self.let(f"fmul {d} {wide}, {factors.c(-math.sqrt(0.5))}")
            return self.op("fmul", self.from_library("erfc", [wide], ["f64"]), self.c(0.5))
        if name == "exp10":
            return self.from_library("pow", [self.c(10.0), xs[0]], ["f64", "f64"])
        if name in ("sinpi", "cospi"):
            whole = self.op("fmul", self.call("rint", self.op("fmul", xs[0], self.c(0.5))), self.c(2.0))
            turn = self.op("fmul", self.op("fsub", xs[0], whole), self.c(math.pi))
            return self.from_library(name[:3], [turn], self.kinds)
        if name == "nextafter":
            types = [llvm_type(self.elem)] * 2
            return self.each("nextafterf" if self.elem == "f32" else name, types[0], xs, types)
        if name == "ilogb":
            wide = convert(self.code, xs[0], self.elem, "f64", self.lvl, self.vl)
            return self.each(name, "i32", [wide], ["double"])
        return None

    # ---- conversions -------------------------------------------------------------------------------------------------
    def conversion(self, name: str, xs: list[str]) -> str | None:
        x, source = xs[0], llvm_type(self.kinds[0], self.vl)
        if name in ("llrint", "llround"):
            return self.to_integer(self.call("rint" if name == "llrint" else "round", x), "s", "i64")
        if match := re.fullmatch(r"(?:float|double)2(u?int|u?ll)_(r[nzdu])", name):
            return self.to_integer(self.call(ROUNDINGS[match[2]], x), *INTEGERS[match[1]])
        if match := re.fullmatch(r"(u?int|u?ll)2(?:float|double)_rn", name):
            return self.let(f"{INTEGERS[match[1]][0]}itofp {source} {x} to {self.to}")
        if name in ("double2float_rn", "double2float_rz"):
            change = convert if name[-1] == "n" else toward_zero
            return change(self.code, x, "f64", "f32", self.lvl, self.vl)
        if BITWISE.fullmatch(name):
            return self.let(f"bitcast {source} {x} to {self.to}")
        if name in ("double2loint", "double2hiint"):
            bits = self.bits(x)
            return self.let(
                f"trunc {self.i} {self.op('lshr', bits, self.n(32)) if 'hi' in name else bits} to {self.to}"
            )
        if name == "hiloint2double":
            high, low = (self.let(f"zext {source} {part} to {self.i}") for part in xs)
            return self.real(self.op("or", self.op("shl", high, self.n(32)), low))
        return None

    def to_integer(self, x: str, sign: str, out: str) -> str:
        lanes = f"v{self.vl}" if self.vl else ""
        to = llvm_type(out, self.vl)
        call = self.emitter.intrinsic(f"llvm.fpto{sign}i.sat.{lanes}{out}.{lanes}{self.elem}", to, self.t)
        return self.let(f"{call}({self.t} {x})")

    # ---- integers ----------------------------------------------------------------------------------------------------
    def integer(self, name: str, xs: list[str]) -> str | None:
        elem = self.kinds[0]
        t, bits = llvm_type(elem, self.vl), BITS.get(elem, 32)
        lanes = f"v{self.vl}{elem}" if self.vl else elem

        def number(k: int) -> str:
            return f"splat ({elem} {k})" if self.vl else str(k)

        def do(how: str, a: str, b: str | int) -> str:
            return self.let(f"{how} {t} {a}, {number(b) if isinstance(b, int) else b}")

        def bit(how: str, x: str, flag: str = "") -> str:
            call = self.emitter.intrinsic(f"llvm.{how}.{lanes}", t, t, *["i1"] * bool(flag))
            return self.let(f"{call}({t} {x}{', i1 ' + flag if flag else ''})")

        def narrow(x: str) -> str:
            return x if t == self.to else self.let(f"trunc {t} {x} to {self.to}")

        plain = name.removesuffix("ll")
        if plain in ("clz", "popc", "brev"):
            how, flag = {"clz": ("ctlz", "false"), "popc": ("ctpop", ""), "brev": ("bitreverse", "")}[plain]
            return narrow(bit(how, xs[0], flag))
        if plain == "ffs":  # the lowest bit set, from 1; 0 has none
            some = self.let(f"icmp ne {t} {xs[0]}, {number(0)}")
            place = do("add", bit("cttz", xs[0], "false"), 1)
            return narrow(self.let(f"select {self.b} {some}, {t} {place}, {t} {number(0)}"))
        if name in ("abs", "llabs"):
            return bit("abs", xs[0], "false")
        if name in ("mulhi", "umulhi", "mul64hi", "umul64hi"):
            extend, wide = "zext" if name[0] == "u" else "sext", llvm_type(f"i{2 * bits}", self.vl)
            a, b = (self.let(f"{extend} {t} {x} to {wide}") for x in xs)
            half = f"splat (i{2 * bits} {bits})" if self.vl else str(bits)
            product = self.let(f"mul {wide} {a}, {b}")
            return self.let(f"trunc {wide} {self.let(f'lshr {wide} {product}, {half}')} to {t}")
        if name in ("mul24", "umul24"):
            back = "lshr" if name[0] == "u" else "ashr"
            a, b = (do(back, do("shl", x, 8), 8) for x in xs)
            return do("mul", a, b)
        if name in ("sad", "usad"):
            sign = "u" if name[0] == "u" else "s"
            ends = []
            for how in (f"{sign}max", f"{sign}min"):
                call = self.emitter.intrinsic(f"llvm.{how}.{lanes}", t, t, t)
                ends.append(self.let(f"{call}({t} {xs[0]}, {t} {xs[1]})"))
            return do("add", do("sub", *ends), xs[2])
        if name in ("hadd", "uhadd", "rhadd", "urhadd"):  # the mean, without overflow
            up, shift = name.endswith("rhadd"), "lshr" if name[0] == "u" else "ashr"
            half = do(shift, do("xor", *xs[:2]), 1)
            return do("sub", do("or", *xs[:2]), half) if up else do("add", do("and", *xs[:2]), half)
        return None
