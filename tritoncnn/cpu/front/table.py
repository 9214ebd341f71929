"""TTIR's elementwise ops, a row each: what kind of op it is, and what LLVM calls it.

Other files ask for kinds, or for one op whose meaning is theirs; a new op of a known kind is one row here. The functions of
MLIR's ``math`` dialect that have no row go by name (``maths.py``, ``wide.py``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """An op that computes one element from the elements at the same place.

    kind   "binary": an LLVM instruction of two operands of one type; "intrinsic": ``llvm.<name>`` of one type;
           "division", "shift": instructions with cases that LLVM leaves open; "resize": an LLVM cast; "float cast",
           "bitcast", "index cast", "to integer": other casts; "own": lowered by itself
    llvm   the instruction's or intrinsic's name
    wraps  integer arithmetic that is told where it cannot overflow
    even   steps evenly where its operands do
    """

    kind: str
    llvm: str = ""
    wraps: bool = False
    even: bool = False


ELEMENTWISE = {
    "arith.addf": Row("binary", "fadd contract"),
    "arith.subf": Row("binary", "fsub contract"),
    "arith.mulf": Row("binary", "fmul contract"),
    "arith.divf": Row("binary", "fdiv"),
    "tt.precise_divf": Row("binary", "fdiv"),
    "arith.remf": Row("binary", "frem"),
    "arith.negf": Row("own"),
    "arith.addi": Row("binary", "add", wraps=True, even=True),
    "arith.subi": Row("binary", "sub", wraps=True, even=True),
    "arith.muli": Row("binary", "mul", wraps=True, even=True),
    "arith.andi": Row("binary", "and"),
    "arith.ori": Row("binary", "or"),
    "arith.xori": Row("binary", "xor"),
    "arith.divsi": Row("division", "sdiv"),
    "arith.remsi": Row("division", "srem"),
    "arith.divui": Row("division", "udiv"),
    "arith.remui": Row("division", "urem"),
    "arith.shli": Row("shift", "shl"),
    "arith.shrsi": Row("shift", "ashr"),
    "arith.shrui": Row("shift", "lshr"),
    "arith.maxnumf": Row("intrinsic", "maxnum"),
    "arith.minnumf": Row("intrinsic", "minnum"),
    "arith.maximumf": Row("intrinsic", "maximum"),
    "arith.minimumf": Row("intrinsic", "minimum"),
    "arith.maxsi": Row("intrinsic", "smax"),
    "arith.minsi": Row("intrinsic", "smin"),
    "arith.maxui": Row("intrinsic", "umax"),
    "arith.minui": Row("intrinsic", "umin"),
    "tt.precise_sqrt": Row("intrinsic", "sqrt"),
    "math.sqrt": Row("intrinsic", "sqrt"),
    "math.absf": Row("intrinsic", "fabs"),
    "math.floor": Row("intrinsic", "floor"),
    "math.ceil": Row("intrinsic", "ceil"),
    "math.trunc": Row("intrinsic", "trunc"),
    "math.round": Row("intrinsic", "round"),
    "math.roundeven": Row("intrinsic", "roundeven"),
    "math.fma": Row("intrinsic", "fma"),
    "math.copysign": Row("intrinsic", "copysign"),
    "arith.cmpi": Row("own"),
    "arith.cmpf": Row("own"),
    "arith.select": Row("own"),
    "tt.addptr": Row("own", even=True),
    "tt.clampf": Row("own"),
    "tt.mulhiui": Row("own"),
    "tt.extern_elementwise": Row("own"),
    "arith.extsi": Row("resize", "sext", even=True),
    "arith.extui": Row("resize", "zext", even=True),
    "arith.trunci": Row("resize", "trunc"),
    "arith.sitofp": Row("resize", "sitofp"),
    "arith.uitofp": Row("resize", "uitofp"),
    "tt.int_to_ptr": Row("resize", "inttoptr"),
    "tt.ptr_to_int": Row("resize", "ptrtoint"),
    "arith.extf": Row("float cast"),
    "arith.truncf": Row("float cast"),
    "tt.fp_to_fp": Row("float cast"),
    "tt.bitcast": Row("bitcast", even=True),
    "arith.bitcast": Row("bitcast"),
    "arith.fptosi": Row("to integer"),
    "arith.fptoui": Row("to integer"),
    "arith.index_cast": Row("index cast", even=True),
}


def of_kind(*kinds: str) -> dict[str, str]:
    """The ops of some kinds, with their LLVM names."""
    return {name: row.llvm for name, row in ELEMENTWISE.items() if row.kind in kinds}


def is_elementwise(name: str) -> bool:
    """Is it an op of one element at a time?"""
    return name in ELEMENTWISE or name.startswith("math.")
