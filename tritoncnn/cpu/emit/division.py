"""Integer division and remainder."""

from __future__ import annotations

from tritoncnn.cpu.front.elements import BITS, llvm_type
from tritoncnn.cpu.front.ttir import Op

from .arith import call_intrinsic, on_lanes
from .state import Apply, State


def division(what: str, signed: bool) -> Apply:
    """``what``: "div" or "rem"."""

    def write(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
        return _divide(code, what, signed, op, xs, lvl, vl)

    return on_lanes(write)


def weight(code: State, op: Op) -> int:
    """Plain instructions for one vector: a known divisor is multiplications or a shift."""
    c = code.facts.const(op.operands[1])
    return 20 if not c else 1 if c & (c - 1) == 0 else 6


def _divide(code: State, what: str, signed: bool, op: Op, xs: list[str], lvl: int, vl: int) -> str:
    """Integer division, for any divisor in lanes that nobody reads: a zero there must not trap."""
    elem = op.operands[0].type.elem
    t = llvm_type(elem, vl)
    divisor = code.facts.const(op.operands[1])
    if all(code.facts.nonnegative(x) for x in op.operands):
        signed = False
    name = ("s" if signed else "u") + what
    if divisor in (None, 0, -1):
        one = f"splat ({elem} 1)" if vl else "1"
        zero = "zeroinitializer" if vl else "0"
        bits = BITS[elem]
        if vl and signed and bits <= 32:
            return _divide_real(code, what, op, xs, lvl, vl)
        bad = code.let(lvl, f"icmp eq {t} {xs[1]}, {zero}")
        if signed:  # the smallest number over -1 traps too
            minus, least = "-1", str(-(1 << bits - 1))
            if vl:
                minus, least = f"splat ({elem} {minus})", f"splat ({elem} {least})"
            m = code.let(lvl, f"icmp eq {t} {xs[1]}, {minus}")
            w = code.let(lvl, f"icmp eq {t} {xs[0]}, {least}")
            b = llvm_type("i1", vl)
            bad = code.let(lvl, f"or {b} {bad}, {code.let(lvl, f'and {b} {m}, {w}')}")
        xs[1] = code.let(lvl, f"select {llvm_type('i1', vl)} {bad}, {t} {one}, {t} {xs[1]}")
    return code.let(lvl, f"{name} {t} {xs[0]}, {xs[1]}")


def _divide_real(code: State, what: str, op: Op, xs: list[str], lvl: int, vl: int) -> str:
    """i32 division through f64, whose 53 bits make the truncated quotient exact; x86 has no vector division."""
    t, d = llvm_type(op.operands[0].type.elem, vl), llvm_type("f64", vl)
    a, b = (code.let(lvl, f"sitofp {t} {x} to {d}") for x in xs)
    wide = llvm_type("i64", vl)
    q = call_intrinsic(code, f"llvm.fptosi.sat.v{vl}i64.v{vl}f64", wide, d, [code.let(lvl, f"fdiv {d} {a}, {b}")])
    q = code.let(lvl, f"trunc {wide} {code.let(lvl, q)} to {t}")
    if what == "div":
        return q
    return code.let(lvl, f"sub {t} {xs[0]}, {code.let(lvl, f'mul {t} {q}, {xs[1]}')}")
