"""Functions of elements: those of MLIR's math dialect, libdevice's, and the rarer arithmetic."""

from __future__ import annotations

from tritoncnn.cpu.front.elements import BITS, literal, llvm_type, mangled
from tritoncnn.cpu.front.ttir import Op

from .arith import call_intrinsic, on_lanes
from .casts import convert
from .libdevice import FAST, WIDE, Libdevice, in_doubles
from .maths import VectorMath
from .state import Apply, State

FUNCTIONS = {**{name: name for name in sorted({*FAST, *WIDE})}, "powf": "pow"}  # of MLIR's math dialect, by our names


def clamp(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
    """The nearest number between two others; the op's last word says whether NaN passes."""
    elem = op.operands[0].type.elem
    t = llvm_type(elem, vl)
    low, high = ("maximum", "minimum") if op.words()[-1] == "all" else ("maxnum", "minnum")
    x = code.let(lvl, call_intrinsic(code, f"llvm.{low}.{mangled(elem, vl)}", t, t, xs[:2]))
    return code.let(lvl, call_intrinsic(code, f"llvm.{high}.{mangled(elem, vl)}", t, t, [x, xs[2]]))


def high_product(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
    """The upper half of a product of unsigned integers."""
    elem = op.operands[0].type.elem
    t, wide = llvm_type(elem, vl), llvm_type(f"i{2 * BITS[elem]}", vl)
    a, b = (code.let(lvl, f"zext {t} {x} to {wide}") for x in xs)
    by = f"splat (i{2 * BITS[elem]} {BITS[elem]})" if vl else str(BITS[elem])
    high = code.let(lvl, f"lshr {wide} {code.let(lvl, f'mul {wide} {a}, {b}')}, {by}")
    return code.let(lvl, f"trunc {wide} {high} to {t}")


def absolute(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
    """|x| of an integer; that of the smallest is itself."""
    elem = op.operands[0].type.elem
    t = llvm_type(elem, vl)
    call = code.intrinsic(f"llvm.abs.{mangled(elem, vl)}", t, t, "i1")
    return code.let(lvl, f"{call}({t} {xs[0]}, i1 false)")


def reciprocal_root(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
    """1 / sqrt(x), each rounded."""
    elem = op.operands[0].type.elem
    t, one = llvm_type(elem, vl), literal("1.0", elem)
    root = code.let(lvl, call_intrinsic(code, f"llvm.sqrt.{mangled(elem, vl)}", t, t, xs))
    return code.let(lvl, f"fdiv {t} {f'splat ({llvm_type(elem)} {one})' if vl else one}, {root}")


def function(name: str) -> Apply:
    """A function of maths.py or wide.py, by its name there."""

    def write(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
        return _function(code, name, xs, op.operands[0].type.elem, lvl, vl)

    return on_lanes(write)


def _function(code: State, name: str, xs: list[str], elem: str, lvl: int, vl: int) -> str:
    """f64 is left to the C library, narrower types are computed in f32."""
    if elem == "f64":
        device = Libdevice(code, [elem] * len(xs), elem, lvl, vl)
        return device.call_symbol(f"__nv_{name}", xs) or ""
    wide = [convert(code, x, elem, "f32", lvl, vl) for x in xs]
    y: str = getattr(VectorMath(code, lvl, vl), name)(*wide) if name in FAST else in_doubles(code, name, wide, lvl, vl)
    return convert(code, y, "f32", elem, lvl, vl)
