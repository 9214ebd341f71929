"""TTIR's elementwise ops as the analyses of indices know them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """An op that computes one element from the elements at the same place.

    kind   "division": quotients and remainders of integers
    even   steps evenly where its operands do
    """

    kind: str
    even: bool = False


ELEMENTWISE = {
    "arith.addf": Row("binary"),
    "arith.subf": Row("binary"),
    "arith.mulf": Row("binary"),
    "arith.divf": Row("binary"),
    "tt.precise_divf": Row("binary"),
    "arith.remf": Row("binary"),
    "arith.negf": Row("own"),
    "arith.addi": Row("binary", even=True),
    "arith.subi": Row("binary", even=True),
    "arith.muli": Row("binary", even=True),
    "arith.andi": Row("binary"),
    "arith.ori": Row("binary"),
    "arith.xori": Row("binary"),
    "arith.divsi": Row("division"),
    "arith.remsi": Row("division"),
    "arith.divui": Row("division"),
    "arith.remui": Row("division"),
    "arith.shli": Row("shift"),
    "arith.shrsi": Row("shift"),
    "arith.shrui": Row("shift"),
    "arith.maxnumf": Row("intrinsic"),
    "arith.minnumf": Row("intrinsic"),
    "arith.maximumf": Row("intrinsic"),
    "arith.minimumf": Row("intrinsic"),
    "arith.maxsi": Row("intrinsic"),
    "arith.minsi": Row("intrinsic"),
    "arith.maxui": Row("intrinsic"),
    "arith.minui": Row("intrinsic"),
    "tt.precise_sqrt": Row("intrinsic"),
    "math.sqrt": Row("intrinsic"),
    "math.absf": Row("intrinsic"),
    "math.floor": Row("intrinsic"),
    "math.ceil": Row("intrinsic"),
    "math.trunc": Row("intrinsic"),
    "math.round": Row("intrinsic"),
    "math.roundeven": Row("intrinsic"),
    "math.fma": Row("intrinsic"),
    "math.copysign": Row("intrinsic"),
    "arith.cmpi": Row("own"),
    "arith.cmpf": Row("own"),
    "arith.select": Row("own"),
    "tt.addptr": Row("own", even=True),
    "tt.clampf": Row("own"),
    "tt.mulhiui": Row("own"),
    "tt.extern_elementwise": Row("own"),
    "arith.extsi": Row("resize", even=True),
    "arith.extui": Row("resize", even=True),
    "arith.trunci": Row("resize"),
    "arith.sitofp": Row("resize"),
    "arith.uitofp": Row("resize"),
    "tt.int_to_ptr": Row("resize"),
    "tt.ptr_to_int": Row("resize"),
    "arith.extf": Row("float cast"),
    "arith.truncf": Row("float cast"),
    "tt.fp_to_fp": Row("float cast"),
    "tt.bitcast": Row("bitcast", even=True),
    "arith.bitcast": Row("bitcast"),
    "arith.fptosi": Row("to integer"),
    "arith.fptoui": Row("to integer"),
    "arith.index_cast": Row("index cast", even=True),
}


def of_kind(kind: str) -> set[str]:
    """The ops of a kind."""
    return {name for name, row in ELEMENTWISE.items() if row.kind == kind}


def is_elementwise(name: str) -> bool:
    """Is it an op of one element at a time?"""
    return name in ELEMENTWISE or name.startswith("math.")
