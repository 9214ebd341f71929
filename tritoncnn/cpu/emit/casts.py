"""Between element types: floats of every width to nearest even, 8-bit floats with saturation, integers without traps."""

from __future__ import annotations

from tritoncnn.cpu.front.elements import BITS, FP8, float_literal, llvm_type
from tritoncnn.cpu.front.ttir import Op

from .state import Lanes, State

MINI = ("bf16", *FP8)  # converted by integer arithmetic, through f32


# ---- ops -------------------------------------------------------------------------------------------------------------
def resize(name: str) -> Lanes:
    """An LLVM cast of integers or addresses, or from integers to floats."""

    def write(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
        elem, out = op.operands[0].type.elem, op.results[0].type.elem
        t = llvm_type(elem, vl)
        if out in MINI:
            return convert(code, code.let(lvl, f"{name} {t} {xs[0]} to {llvm_type('f32', vl)}"), "f32", out, lvl, vl)
        return code.let(lvl, f"{name} {t} {xs[0]} to {llvm_type(out, vl)}") if elem != out else xs[0]

    return write


def float_cast(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
    """Between floats, to nearest even."""
    return convert(code, xs[0], op.operands[0].type.elem, op.results[0].type.elem, lvl, vl)


def rounded_float_cast(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
    """Between floats, in the direction that the op's last word says."""
    elem, out = op.operands[0].type.elem, op.results[0].type.elem
    if op.words()[-1:] == ["rtz"] and BITS[out] < BITS[elem]:
        return toward_zero(code, xs[0], elem, out, lvl, vl)
    return convert(code, xs[0], elem, out, lvl, vl)


def to_integer(unsigned: bool) -> Lanes:
    """From floats to integers."""

    def write(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
        return _to_integer(code, unsigned, xs[0], op.operands[0].type.elem, op.results[0].type.elem, lvl, vl)

    return write


def index_cast(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
    """An integer as an index, or back."""
    elem, out = op.operands[0].type.elem, op.results[0].type.elem
    grow = BITS.get(out, 64) > BITS.get(elem, 64)
    return code.let(lvl, f"{'sext' if grow else 'trunc'} {llvm_type(elem, vl)} {xs[0]} to {llvm_type(out, vl)}")


def bitcast(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
    """The same bits; a bool is the last of eight."""
    elem, out = op.operands[0].type.elem, op.results[0].type.elem
    t, to = llvm_type(elem, vl), llvm_type(out, vl)
    if "i1" in (elem, out):
        return code.let(lvl, f"{'zext' if elem == 'i1' else 'trunc'} {t} {xs[0]} to {to}")
    return code.let(lvl, f"bitcast {t} {xs[0]} to {to}") if t != to else xs[0]


def _to_integer(code: State, unsigned: bool, x: str, elem: str, out: str, lvl: int, vl: int) -> str:
    """Truncated; i32 and i64 saturate and NaN is 0, as on GPUs; narrower ones wrap, through a wider one."""
    if elem not in ("f32", "f64"):
        x, elem = convert(code, x, elem, "f32", lvl, vl), "f32"
    through = "i32" if BITS[out] < 32 else "i64" if unsigned else out
    sign = "u" if out == "i64" and unsigned else "s"
    t, wide = llvm_type(elem, vl), llvm_type(through, vl)
    lanes = f"v{vl}" if vl else ""
    call = code.intrinsic(f"llvm.fpto{sign}i.sat.{lanes}{through}.{lanes}{elem}", wide, t)
    y = code.let(lvl, f"{call}({t} {x})")
    return y if through == out else code.let(lvl, f"trunc {wide} {y} to {llvm_type(out, vl)}")


# ---- floats ---------------------------------------------------------------------------------------------------------
def convert(code: State, x: str, elem: str, out: str, lvl: int, vl: int) -> str:
    """Between float types, to nearest even. bf16 by integer arithmetic: the instruction flushes subnormals."""
    if elem == out:
        return x
    if elem in FP8:
        return convert(code, _widen_fp8(code, x, elem, lvl, vl), "f32", out, lvl, vl)
    t = llvm_type(elem, vl)
    if elem == "bf16":
        bits = _number(code, lvl, vl, f"zext {llvm_type('i16', vl)}", _as(code, lvl, x, t, "i16", vl))
        shifted = _whole(code, lvl, vl, "shl", bits, 16)
        return convert(code, _as(code, lvl, shifted, llvm_type("i32", vl), "f32", vl), "f32", out, lvl, vl)
    if out in MINI or (elem == "f64" and out == "f16"):
        x = _odd(code, x, lvl, vl) if elem == "f64" else convert(code, x, elem, "f32", lvl, vl)
        if out == "f16":
            return convert(code, x, "f32", out, lvl, vl)
        return _to_bf16(code, x, lvl, vl) if out == "bf16" else _to_fp8(code, x, out, lvl, vl)
    if (elem, out) == ("f16", "f64"):  # one step would call a function of the compiler's library
        return convert(code, convert(code, x, elem, "f32", lvl, vl), "f32", out, lvl, vl)
    return code.let(lvl, f"{'fpext' if BITS[out] > BITS[elem] else 'fptrunc'} {t} {x} to {llvm_type(out, vl)}")


def toward_zero(code: State, x: str, elem: str, out: str, lvl: int, vl: int) -> str:
    """To a narrower float; what was rounded away from zero goes back by one, and overflow to the largest number."""
    near = convert(code, x, elem, out, lvl, vl)
    back = convert(code, near, out, elem, lvl, vl)
    t, lanes = llvm_type(elem, vl), f"v{vl}{elem}" if vl else elem
    if elem in ("f16", "bf16"):
        x, back = (convert(code, y, elem, "f32", lvl, vl) for y in (x, back))
        t, lanes = llvm_type("f32", vl), f"v{vl}f32" if vl else "f32"
    call = code.intrinsic(f"llvm.fabs.{lanes}", t, t)
    a, b = (code.let(lvl, f"{call}({t} {y})") for y in (x, back))
    over = code.let(lvl, f"fcmp ogt {t} {b}, {a}")
    whole = f"i{BITS[out]}"
    i = llvm_type(whole, vl)
    step = code.let(lvl, f"sext {llvm_type('i1', vl)} {over} to {i}")
    bits = code.let(lvl, f"add {i} {_as(code, lvl, near, llvm_type(out, vl), whole, vl)}, {step}")
    if out in FP8 and not FP8[out].negative_zero:  # the code of a negative zero means NaN
        nan, zero = (f"splat (i8 {n})" if vl else str(n) for n in (-128, 0))
        least = code.let(lvl, f"icmp eq {i} {bits}, {nan}")
        gone = code.let(lvl, f"and {llvm_type('i1', vl)} {over}, {least}")
        bits = code.let(lvl, f"select {llvm_type('i1', vl)} {gone}, {i} {zero}, {i} {bits}")
    return _as(code, lvl, bits, i, out, vl)


def _as(code: State, lvl: int, x: str, t: str, elem: str, vl: int) -> str:
    to = llvm_type(elem, vl)
    return x if t == to else code.let(lvl, f"bitcast {t} {x} to {to}")


def _number(code: State, lvl: int, vl: int, how: str, x: str) -> str:
    return code.let(lvl, f"{how} {x} to {llvm_type('i32', vl)}")


def _whole(code: State, lvl: int, vl: int, how: str, a: str, b: int | str) -> str:
    """An i32 instruction; a number stands in every lane."""
    number = (f"splat (i32 {b})" if vl else str(b)) if isinstance(b, int) else b
    return code.let(lvl, f"{how} {llvm_type('i32', vl)} {a}, {number}")


def _pick(code: State, lvl: int, vl: int, test: str, yes: int | str, no: str) -> str:
    number = (f"splat (i32 {yes})" if vl else str(yes)) if isinstance(yes, int) else yes
    i = llvm_type("i32", vl)
    return code.let(lvl, f"select {llvm_type('i1', vl)} {test}, {i} {number}, {i} {no}")


def _odd(code: State, x: str, lvl: int, vl: int) -> str:
    """f64 -> f32 rounded to odd, so that a second rounding to fewer bits is the only one that counts."""
    d, f = llvm_type("f64", vl), llvm_type("f32", vl)
    call = code.intrinsic(f"llvm.fabs.{f'v{vl}f64' if vl else 'f64'}", d, d)
    near = code.let(lvl, f"fptrunc {d} {x} to {f}")
    back = code.let(lvl, f"fpext {f} {near} to {d}")
    inexact = code.let(lvl, f"fcmp one {d} {back}, {x}")
    over = code.let(lvl, f"fcmp ogt {d} {code.let(lvl, f'{call}({d} {back})')}, {code.let(lvl, f'{call}({d} {x})')}")
    b = llvm_type("i1", vl)
    bits = _whole(code, lvl, vl, "add", _as(code, lvl, near, f, "i32", vl), _number(code, lvl, vl, f"sext {b}", over))
    bits = _whole(code, lvl, vl, "or", bits, _number(code, lvl, vl, f"zext {b}", inexact))
    return _as(code, lvl, bits, llvm_type("i32", vl), "f32", vl)


def _rounded(code: State, bits: str, drop: int, lvl: int, vl: int) -> str:
    """An f32's bits without the last ``drop``, to nearest even; a carry into the exponent is right."""
    odd = _whole(code, lvl, vl, "and", _whole(code, lvl, vl, "lshr", bits, drop), 1)
    up = _whole(code, lvl, vl, "add", bits, _whole(code, lvl, vl, "add", odd, (1 << drop - 1) - 1))
    return _whole(code, lvl, vl, "lshr", up, drop)


def _to_bf16(code: State, x: str, lvl: int, vl: int) -> str:
    f, h = llvm_type("f32", vl), llvm_type("i16", vl)
    bits = _as(code, lvl, x, f, "i32", vl)
    nan = code.let(lvl, f"fcmp uno {f} {x}, {x}")
    quiet = _whole(code, lvl, vl, "lshr", _whole(code, lvl, vl, "or", bits, 0x400000), 16)
    top = _pick(code, lvl, vl, nan, quiet, _rounded(code, bits, 16, lvl, vl))
    return _as(code, lvl, code.let(lvl, f"trunc {llvm_type('i32', vl)} {top} to {h}"), h, "bf16", vl)


def _to_fp8(code: State, x: str, out: str, lvl: int, vl: int) -> str:
    """Numbers and infinities past the largest number become that, as in PTX's ``cvt.rn.satfinite``."""
    kind = FP8[out]
    f, i = llvm_type("f32", vl), llvm_type("i32", vl)
    all_bits = _as(code, lvl, x, f, "i32", vl)
    bits = _whole(code, lvl, vl, "and", all_bits, 0x7FFFFFFF)
    drop = 23 - kind.mantissa
    normal = _whole(code, lvl, vl, "sub", _rounded(code, bits, drop, lvl, vl), 127 - kind.bias << kind.mantissa)
    unit = 24 - kind.bias - kind.mantissa  # a sum with 2**unit is rounded to the smallest subnormal
    magic = float_literal(2.0**unit, "f32")
    wide = f"splat (float {magic})" if vl else magic
    total = code.let(lvl, f"fadd {f} {_as(code, lvl, bits, i, 'f32', vl)}, {wide}")
    small = _whole(code, lvl, vl, "sub", _as(code, lvl, total, f, "i32", vl), 127 + unit << 23)
    tiny = _whole(code, lvl, vl, "icmp ult", bits, 128 - kind.bias << 23)
    number = _pick(code, lvl, vl, tiny, small, normal)
    limit = f"splat (i32 {kind.largest})" if vl else str(kind.largest)
    least = code.intrinsic(f"llvm.umin.{f'v{vl}i32' if vl else 'i32'}", i, i, i)
    huge = _whole(code, lvl, vl, "icmp uge", bits, 0x7F800000)
    number = _pick(code, lvl, vl, huge, kind.largest, code.let(lvl, f"{least}({i} {number}, {i} {limit})"))
    sign = _whole(code, lvl, vl, "and", _whole(code, lvl, vl, "lshr", all_bits, 24), 0x80)
    signed = _whole(code, lvl, vl, "or", number, sign)
    if not kind.negative_zero:
        signed = _pick(code, lvl, vl, _whole(code, lvl, vl, "icmp eq", number, 0), 0, signed)
    nan = code.let(lvl, f"fcmp uno {f} {x}, {x}")
    whole = _pick(code, lvl, vl, nan, kind.nan, signed)
    return code.let(lvl, f"trunc {i} {whole} to {llvm_type('i8', vl)}")


def _widen_fp8(code: State, x: str, elem: str, lvl: int, vl: int) -> str:
    """To f32, exactly: the bits as those of a tiny f32, which a power of two makes right, subnormals too."""
    kind = FP8[elem]
    f, i = llvm_type("f32", vl), llvm_type("i32", vl)
    bits = _number(code, lvl, vl, f"zext {llvm_type('i8', vl)}", x)
    low = _whole(code, lvl, vl, "and", bits, 0x7F)
    tiny = _as(code, lvl, _whole(code, lvl, vl, "shl", low, 23 - kind.mantissa), i, "f32", vl)
    scale = float_literal(2.0 ** (127 - kind.bias), "f32")
    number = code.let(lvl, f"fmul {f} {tiny}, {f'splat (float {scale})' if vl else scale}")
    whole = _as(code, lvl, number, f, "i32", vl)
    if kind.infinity:
        special = _whole(code, lvl, vl, "icmp eq", low, kind.infinity)
        whole = _pick(code, lvl, vl, special, 0x7F800000, whole)
        nan = _whole(code, lvl, vl, "icmp ugt", low, kind.infinity)
    else:
        nan = _whole(code, lvl, vl, "icmp eq", low if kind.negative_zero else bits, kind.nan)
    whole = _pick(code, lvl, vl, nan, 0x7FC00000, whole)
    sign = _whole(code, lvl, vl, "shl", _whole(code, lvl, vl, "and", bits, 0x80), 24)
    return _as(code, lvl, _whole(code, lvl, vl, "or", whole, sign), i, "f32", vl)
