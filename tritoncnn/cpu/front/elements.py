"""Element types: sizes, 8-bit floats, how LLVM calls them, and literals of them."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Fp8:
    """An 8-bit float: its codes without the sign run from 0 up to ``largest``, a finite number; ``infinity`` 0: none."""

    mantissa: int
    bias: int
    largest: int
    nan: int
    infinity: int = 0
    negative_zero: bool = True


FP8 = {
    "f8E4M3FN": Fp8(3, 7, 0x7E, 0x7F), "f8E5M2": Fp8(2, 15, 0x7B, 0x7F, 0x7C),
    "f8E4M3FNUZ": Fp8(3, 8, 0x7F, 0x80, negative_zero=False), "f8E5M2FNUZ": Fp8(2, 16, 0x7F, 0x80, negative_zero=False),
}  # fmt: skip
FLOATS = ("f16", "bf16", "f32", "f64", *FP8)
BITS = {
    "i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "f16": 16, "bf16": 16, "f32": 32, "f64": 64, "ptr": 64,
    **dict.fromkeys(FP8, 8),
}  # fmt: skip
LLVM = {"f16": "half", "bf16": "bfloat", "f32": "float", "f64": "double", "ptr": "ptr"} | dict.fromkeys(FP8, "i8")


def llvm_type(elem: str, vl: int = 0) -> str:
    """f32, 16 -> <16 x float>; vl 0 is a scalar."""
    name = LLVM.get(elem, elem)
    return f"<{vl} x {name}>" if vl else name


def stored(elem: str) -> str:
    """The element type in memory: a bool takes one byte."""
    return "i8" if elem == "i1" else elem


def size_of(elem: str) -> int:
    return BITS[stored(elem)] // 8


def float_literal(x: float, elem: str) -> str:
    """An LLVM literal, rounded to elem first."""
    if elem == "bf16":
        bits = struct.unpack("<I", struct.pack("<f", x))[0]
        if x == x:
            bits += 0x7FFF + (bits >> 16 & 1)
        return f"0xR{(bits >> 16) & 0xFFFF | (0x40 if x != x else 0):04X}"
    if elem == "f16":
        return f"0xH{struct.unpack('<H', struct.pack('<e', x))[0]:04X}"
    if elem == "f32":
        x = struct.unpack("<f", struct.pack("<f", x))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', x))[0]:016X}"


def _fp8_code(text: str, elem: str) -> int:
    """The bits of an 8-bit float that a literal, bits or a decimal number, stands for."""
    if text.startswith("0x"):
        return int(text, 16)
    kind, x = FP8[elem], float(text)
    unit = 1 << kind.mantissa

    def value(code: int) -> float:
        exponent, rest = divmod(code, unit)
        return math.ldexp(rest + unit * (exponent > 0), max(exponent, 1) - kind.bias - kind.mantissa)

    nearest = min(range(kind.largest + 1), key=lambda code: (abs(value(code) - abs(x)), code & 1))
    return nearest | 0x80 if math.copysign(1.0, x) < 0 and (nearest or kind.negative_zero) else nearest


def literal(text: str, elem: str) -> str:
    """A TTIR literal as an LLVM literal."""
    if elem in FP8:
        return str(_fp8_code(text, elem))
    if elem in FLOATS:
        if text.startswith("0x"):
            bits = int(text, 16)
            if elem in ("f16", "bf16"):
                return f"0x{'H' if elem == 'f16' else 'R'}{bits:04X}"
            if elem == "f64":
                return f"0x{bits:016X}"
            x = struct.unpack("<f", struct.pack("<I", bits))[0]
            if x != x:  # keep the payload: float -> double shifts the mantissa by 29
                return f"0x{(bits >> 31) << 63 | 0x7FF << 52 | (bits & 0x7FFFFF) << 29:016X}"
            return float_literal(x, "f32")
        return float_literal(float(text), elem)
    if elem == "i1":
        return {"true": "1", "false": "0", "-1": "1"}.get(text, text)
    return str(int(text, 16)) if text.startswith("0x") else text


def mangled(elem: str, vl: int) -> str:
    name = "i8" if elem in FP8 else elem
    return f"v{vl}{name}" if vl else name


def zero(elem: str) -> str:
    """The literal whose bits are all 0."""
    return "null" if elem == "ptr" else literal("0", elem)
