"""Between element types: floats of every width to nearest even, 8-bit floats with saturation, integers without traps."""

from __future__ import annotations

from tritoncnn.cpu.front.elements import BITS, FP8, float_literal, llvm_type
from tritoncnn.cpu.front.table import of_kind
from tritoncnn.cpu.front.ttir import Op

from .state import State

RESIZE = of_kind("resize")
FLOAT_CASTS, TO_INTEGER = of_kind("float cast"), of_kind("to integer")
CASTS = of_kind("resize", "float cast", "bitcast", "to integer", "index cast")
MINI = ("bf16", *FP8)  # converted by integer arithmetic, through f32


class Casts(State):
    """Writes casts of elements and vectors."""

    def cast(self, op: Op, x: str, lvl: int, vl: int) -> str:
        """One op of CASTS on an element or vector."""
        n, elem, out = op.name, op.operands[0].type.elem, op.results[0].type.elem
        t, to = llvm_type(elem, vl), llvm_type(out, vl)
        if n in RESIZE and out in MINI:
            return self.convert(self.let(lvl, f"{RESIZE[n]} {t} {x} to {llvm_type('f32', vl)}"), "f32", out, lvl, vl)
        if n in RESIZE:
            return self.let(lvl, f"{RESIZE[n]} {t} {x} to {to}") if elem != out else x
        if n in FLOAT_CASTS:
            to_zero = n == "tt.fp_to_fp" and op.words()[-1:] == ["rtz"] and BITS[out] < BITS[elem]
            return self.toward_zero(x, elem, out, lvl, vl) if to_zero else self.convert(x, elem, out, lvl, vl)
        if n in TO_INTEGER:
            return self._to_integer(n, x, elem, out, lvl, vl)
        if n == "arith.index_cast":
            grow = BITS.get(out, 64) > BITS.get(elem, 64)
            return self.let(lvl, f"{'sext' if grow else 'trunc'} {t} {x} to {to}")
        if "i1" in (elem, out):
            return self.let(lvl, f"{'zext' if elem == 'i1' else 'trunc'} {t} {x} to {to}")
        return self.let(lvl, f"bitcast {t} {x} to {to}") if t != to else x

    def _to_integer(self, n: str, x: str, elem: str, out: str, lvl: int, vl: int) -> str:
        """Truncated; i32 and i64 saturate and NaN is 0, as on GPUs; narrower ones wrap, through a wider one."""
        if elem not in ("f32", "f64"):
            x, elem = self.convert(x, elem, "f32", lvl, vl), "f32"
        through = "i32" if BITS[out] < 32 else "i64" if n == "arith.fptoui" else out
        sign = "u" if out == "i64" and n == "arith.fptoui" else "s"
        t, wide = llvm_type(elem, vl), llvm_type(through, vl)
        lanes = f"v{vl}" if vl else ""
        call = self.intrinsic(f"llvm.fpto{sign}i.sat.{lanes}{through}.{lanes}{elem}", wide, t)
        y = self.let(lvl, f"{call}({t} {x})")
        return y if through == out else self.let(lvl, f"trunc {wide} {y} to {llvm_type(out, vl)}")

    # ---- floats ------------------------------------------------------------------------------------------------
    def convert(self, x: str, elem: str, out: str, lvl: int, vl: int) -> str:
        """Between float types, to nearest even. bf16 by integer arithmetic: the instruction flushes subnormals."""
        if elem == out:
            return x
        if elem in FP8:
            return self.convert(self._widen_fp8(x, elem, lvl, vl), "f32", out, lvl, vl)
        t = llvm_type(elem, vl)
        if elem == "bf16":
            bits = self._number(lvl, vl, f"zext {llvm_type('i16', vl)}", self._as(lvl, x, t, "i16", vl))
            shifted = self._whole(lvl, vl, "shl", bits, 16)
            return self.convert(self._as(lvl, shifted, llvm_type("i32", vl), "f32", vl), "f32", out, lvl, vl)
        if out in MINI or (elem == "f64" and out == "f16"):
            x = self._odd(x, lvl, vl) if elem == "f64" else self.convert(x, elem, "f32", lvl, vl)
            if out == "f16":
                return self.convert(x, "f32", out, lvl, vl)
            return self._to_bf16(x, lvl, vl) if out == "bf16" else self._to_fp8(x, out, lvl, vl)
        if (elem, out) == ("f16", "f64"):  # one step would call a function of the compiler's library
            return self.convert(self.convert(x, elem, "f32", lvl, vl), "f32", out, lvl, vl)
        return self.let(lvl, f"{'fpext' if BITS[out] > BITS[elem] else 'fptrunc'} {t} {x} to {llvm_type(out, vl)}")

    def toward_zero(self, x: str, elem: str, out: str, lvl: int, vl: int) -> str:
        """To a narrower float; what was rounded away from zero goes back by one, and overflow to the largest number."""
        near = self.convert(x, elem, out, lvl, vl)
        back = self.convert(near, out, elem, lvl, vl)
        t, lanes = llvm_type(elem, vl), f"v{vl}{elem}" if vl else elem
        if elem in ("f16", "bf16"):
            x, back = (self.convert(y, elem, "f32", lvl, vl) for y in (x, back))
            t, lanes = llvm_type("f32", vl), f"v{vl}f32" if vl else "f32"
        call = self.intrinsic(f"llvm.fabs.{lanes}", t, t)
        a, b = (self.let(lvl, f"{call}({t} {y})") for y in (x, back))
        over = self.let(lvl, f"fcmp ogt {t} {b}, {a}")
        whole = f"i{BITS[out]}"
        i = llvm_type(whole, vl)
        step = self.let(lvl, f"sext {llvm_type('i1', vl)} {over} to {i}")
        bits = self.let(lvl, f"add {i} {self._as(lvl, near, llvm_type(out, vl), whole, vl)}, {step}")
        if out in FP8 and not FP8[out].negative_zero:  # the code of a negative zero means NaN
            nan, zero = (f"splat (i8 {n})" if vl else str(n) for n in (-128, 0))
            least = self.let(lvl, f"icmp eq {i} {bits}, {nan}")
            gone = self.let(lvl, f"and {llvm_type('i1', vl)} {over}, {least}")
            bits = self.let(lvl, f"select {llvm_type('i1', vl)} {gone}, {i} {zero}, {i} {bits}")
        return self._as(lvl, bits, i, out, vl)

    def _as(self, lvl: int, x: str, t: str, elem: str, vl: int) -> str:
        to = llvm_type(elem, vl)
        return x if t == to else self.let(lvl, f"bitcast {t} {x} to {to}")

    def _number(self, lvl: int, vl: int, how: str, x: str) -> str:
        return self.let(lvl, f"{how} {x} to {llvm_type('i32', vl)}")

    def _whole(self, lvl: int, vl: int, how: str, a: str, b: int | str) -> str:
        """An i32 instruction; a number stands in every lane."""
        number = (f"splat (i32 {b})" if vl else str(b)) if isinstance(b, int) else b
        return self.let(lvl, f"{how} {llvm_type('i32', vl)} {a}, {number}")

    def _pick(self, lvl: int, vl: int, test: str, yes: int | str, no: str) -> str:
        number = (f"splat (i32 {yes})" if vl else str(yes)) if isinstance(yes, int) else yes
        i = llvm_type("i32", vl)
        return self.let(lvl, f"select {llvm_type('i1', vl)} {test}, {i} {number}, {i} {no}")

    def _odd(self, x: str, lvl: int, vl: int) -> str:
        """f64 -> f32 rounded to odd, so that a second rounding to fewer bits is the only one that counts."""
        d, f = llvm_type("f64", vl), llvm_type("f32", vl)
        call = self.intrinsic(f"llvm.fabs.{f'v{vl}f64' if vl else 'f64'}", d, d)
        near = self.let(lvl, f"fptrunc {d} {x} to {f}")
        back = self.let(lvl, f"fpext {f} {near} to {d}")
        inexact = self.let(lvl, f"fcmp one {d} {back}, {x}")
        over = self.let(
            lvl, f"fcmp ogt {d} {self.let(lvl, f'{call}({d} {back})')}, {self.let(lvl, f'{call}({d} {x})')}"
        )
        b = llvm_type("i1", vl)
        bits = self._whole(lvl, vl, "add", self._as(lvl, near, f, "i32", vl), self._number(lvl, vl, f"sext {b}", over))
        bits = self._whole(lvl, vl, "or", bits, self._number(lvl, vl, f"zext {b}", inexact))
        return self._as(lvl, bits, llvm_type("i32", vl), "f32", vl)

    def _rounded(self, bits: str, drop: int, lvl: int, vl: int) -> str:
        """An f32's bits without the last ``drop``, to nearest even; a carry into the exponent is right."""
        odd = self._whole(lvl, vl, "and", self._whole(lvl, vl, "lshr", bits, drop), 1)
        up = self._whole(lvl, vl, "add", bits, self._whole(lvl, vl, "add", odd, (1 << drop - 1) - 1))
        return self._whole(lvl, vl, "lshr", up, drop)

    def _to_bf16(self, x: str, lvl: int, vl: int) -> str:
        f, h = llvm_type("f32", vl), llvm_type("i16", vl)
        bits = self._as(lvl, x, f, "i32", vl)
        nan = self.let(lvl, f"fcmp uno {f} {x}, {x}")
        quiet = self._whole(lvl, vl, "lshr", self._whole(lvl, vl, "or", bits, 0x400000), 16)
        top = self._pick(lvl, vl, nan, quiet, self._rounded(bits, 16, lvl, vl))
        return self._as(lvl, self.let(lvl, f"trunc {llvm_type('i32', vl)} {top} to {h}"), h, "bf16", vl)

    def _to_fp8(self, x: str, out: str, lvl: int, vl: int) -> str:
        """Numbers and infinities past the largest number become that, as in PTX's ``cvt.rn.satfinite``."""
        kind = FP8[out]
        f, i = llvm_type("f32", vl), llvm_type("i32", vl)
        all_bits = self._as(lvl, x, f, "i32", vl)
        bits = self._whole(lvl, vl, "and", all_bits, 0x7FFFFFFF)
        drop = 23 - kind.mantissa
        normal = self._whole(lvl, vl, "sub", self._rounded(bits, drop, lvl, vl), 127 - kind.bias << kind.mantissa)
        unit = 24 - kind.bias - kind.mantissa  # a sum with 2**unit is rounded to the smallest subnormal
        magic = float_literal(2.0**unit, "f32")
        wide = f"splat (float {magic})" if vl else magic
        total = self.let(lvl, f"fadd {f} {self._as(lvl, bits, i, 'f32', vl)}, {wide}")
        small = self._whole(lvl, vl, "sub", self._as(lvl, total, f, "i32", vl), 127 + unit << 23)
        tiny = self._whole(lvl, vl, "icmp ult", bits, 128 - kind.bias << 23)
        code = self._pick(lvl, vl, tiny, small, normal)
        limit = f"splat (i32 {kind.largest})" if vl else str(kind.largest)
        least = self.intrinsic(f"llvm.umin.{f'v{vl}i32' if vl else 'i32'}", i, i, i)
        huge = self._whole(lvl, vl, "icmp uge", bits, 0x7F800000)
        code = self._pick(lvl, vl, huge, kind.largest, self.let(lvl, f"{least}({i} {code}, {i} {limit})"))
        sign = self._whole(lvl, vl, "and", self._whole(lvl, vl, "lshr", all_bits, 24), 0x80)
        signed = self._whole(lvl, vl, "or", code, sign)
        if not kind.negative_zero:
            signed = self._pick(lvl, vl, self._whole(lvl, vl, "icmp eq", code, 0), 0, signed)
        nan = self.let(lvl, f"fcmp uno {f} {x}, {x}")
        whole = self._pick(lvl, vl, nan, kind.nan, signed)
        return self.let(lvl, f"trunc {i} {whole} to {llvm_type('i8', vl)}")

    def _widen_fp8(self, x: str, elem: str, lvl: int, vl: int) -> str:
        """To f32, exactly: the bits as those of a tiny f32, which a power of two makes right, subnormals too."""
        kind = FP8[elem]
        f, i = llvm_type("f32", vl), llvm_type("i32", vl)
        bits = self._number(lvl, vl, f"zext {llvm_type('i8', vl)}", x)
        low = self._whole(lvl, vl, "and", bits, 0x7F)
        tiny = self._as(lvl, self._whole(lvl, vl, "shl", low, 23 - kind.mantissa), i, "f32", vl)
        scale = float_literal(2.0 ** (127 - kind.bias), "f32")
        number = self.let(lvl, f"fmul {f} {tiny}, {f'splat (float {scale})' if vl else scale}")
        whole = self._as(lvl, number, f, "i32", vl)
        if kind.infinity:
            special = self._whole(lvl, vl, "icmp eq", low, kind.infinity)
            whole = self._pick(lvl, vl, special, 0x7F800000, whole)
            nan = self._whole(lvl, vl, "icmp ugt", low, kind.infinity)
        else:
            nan = self._whole(lvl, vl, "icmp eq", low if kind.negative_zero else bits, kind.nan)
        whole = self._pick(lvl, vl, nan, 0x7FC00000, whole)
        sign = self._whole(lvl, vl, "shl", self._whole(lvl, vl, "and", bits, 0x80), 24)
        return self._as(lvl, self._whole(lvl, vl, "or", whole, sign), i, "f32", vl)
