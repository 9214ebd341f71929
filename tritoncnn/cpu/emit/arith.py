"""Arithmetic on one element, or one vector of elements, of any type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tritoncnn.cpu.front.elements import BITS, FP8, llvm_type, mangled, stored
from tritoncnn.cpu.front.ttir import Op, Type, Value

from .casts import convert
from .state import Apply, Lanes, State
from .values import Move, Res


def apply(code: State, op: Op, rs: list[Res]) -> Res:
    """Write one elementwise op on elements or vectors."""
    row = code.row(op)
    assert row.apply is not None
    if op.operands[0].type.elem in FP8 and not row.fp8:
        return _apply_wide(code, op, rs)
    return row.simplify(code, op, rs) or row.apply(code, op, rs)


def _apply_wide(code: State, op: Op, rs: list[Res]) -> Res:
    """Arithmetic on 8-bit floats is done in f32 and rounded."""

    def twin(v: Value) -> Value:
        return Value(v.name, Type(v.type.shape, "f32" if v.type.elem in FP8 else v.type.elem), v.op, v.block)

    wide = replace(op, operands=[twin(x) for x in op.operands], results=[twin(op.results[0])])
    args = []
    for r, x in zip(rs, op.operands, strict=True):
        narrow = x.type.elem in FP8
        args.append(Res(convert(code, r.v, x.type.elem, "f32", r.lvl, r.vl), r.lvl, r.vl) if narrow else r)
    y, elem = apply(code, wide, args), op.results[0].type.elem
    return Res(convert(code, y.v, "f32", elem, y.lvl, y.vl), y.lvl, y.vl) if elem in FP8 else y


def on_lanes(write: Lanes) -> Apply:
    """An op whose operands must all have the lanes of its result."""

    def apply_to(code: State, op: Op, rs: list[Res]) -> Res:
        lvl, vl = max([r.lvl for r in rs], default=0), max([r.vl for r in rs], default=0)
        xs = [code.widen(r, x.type.elem, vl) for r, x in zip(rs, op.operands, strict=True)]
        return Res(write(code, op, xs, lvl, vl), lvl, vl)

    return apply_to


def call_intrinsic(code: State, name: str, result: str, t: str, xs: Sequence[str]) -> str:
    """The call of an intrinsic whose arguments all have type t."""
    return f"{code.intrinsic(name, result, *[t] * len(xs))}({', '.join(f'{t} {x}' for x in xs)})"


# ---- kinds of ops ----------------------------------------------------------------------------------------------------
def instruction(name: str) -> Apply:
    """An LLVM instruction of operands of one type."""

    def write(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
        return code.let(lvl, f"{name} {llvm_type(op.operands[0].type.elem, vl)} {', '.join(xs)}")

    return on_lanes(write)


def wrapping(name: str) -> Apply:
    """Integer arithmetic that is told where it cannot overflow."""

    def write(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
        fits = " nsw" if code.facts.fits(op.results[0]) else ""
        return code.let(lvl, f"{name}{fits} {llvm_type(op.operands[0].type.elem, vl)} {xs[0]}, {xs[1]}")

    plainly = on_lanes(write)

    def apply_to(code: State, op: Op, rs: list[Res]) -> Res:
        result = plainly(code, op, rs)
        if name == "add" and not result.vl and op.results[0].type.elem == "i32" and code.facts.fits(op.results[0]):
            code.sums[result.v] = (rs[0], rs[1])
        return result

    return apply_to


def intrinsic(name: str) -> Apply:
    """``llvm.<name>`` of operands of one type."""

    def write(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
        elem = op.operands[0].type.elem
        t = llvm_type(elem, vl)
        return code.let(lvl, call_intrinsic(code, f"llvm.{name}.{mangled(elem, vl)}", t, t, xs))

    return on_lanes(write)


def comparison(name: str) -> Apply:
    """``icmp`` or ``fcmp`` by the op's predicate."""

    def write(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
        t = llvm_type(op.operands[0].type.elem, vl)
        return code.let(lvl, f"{name} {op.words()[0]} {t} {xs[0]}, {xs[1]}")

    return on_lanes(write)


def shift(name: str) -> Apply:
    """``shl``, ``ashr`` or ``lshr``, by any amount."""

    def write(code: State, op: Op, xs: list[str], lvl: int, vl: int) -> str:
        return _shift(code, name, op, xs, lvl, vl)

    return on_lanes(write)


def _shift(code: State, name: str, op: Op, xs: list[str], lvl: int, vl: int) -> str:
    """By the type's width or more: what is left is zeros, or the sign; LLVM leaves it open."""
    elem = op.operands[0].type.elem
    t, bits = llvm_type(elem, vl), BITS[elem]
    found = code.facts.range(op.operands[1])
    if found and found[0] >= 0 and found[1] < bits:
        return code.let(lvl, f"{name} {t} {xs[0]}, {xs[1]}")
    most = f"splat ({elem} {bits - 1})" if vl else str(bits - 1)
    call = code.intrinsic(f"llvm.umin.{mangled(elem, vl)}", t, t, t)
    amount = code.let(lvl, f"{call}({t} {xs[1]}, {t} {most})")
    y = code.let(lvl, f"{name} {t} {xs[0]}, {amount}")
    if name == "ashr":
        return y
    fits = code.let(lvl, f"icmp ule {t} {xs[1]}, {most}")
    zero = "zeroinitializer" if vl else "0"
    return code.let(lvl, f"select {llvm_type('i1', vl)} {fits}, {t} {y}, {t} {zero}")


# ---- ops whose operands need not have the same lanes -----------------------------------------------------------------
def select(code: State, op: Op, rs: list[Res]) -> Res:
    """One of two values; what a literal decides is not computed."""
    test, yes, no = rs
    if test.v in ("0", "1") or (test.constant and not test.vl):
        return yes if test.v == "1" else no
    lvl, vl = max(r.lvl for r in rs), max(r.vl for r in rs)
    elem = op.results[0].type.elem
    t = llvm_type(elem, vl)
    both = f"{t} {code.widen(yes, elem, vl)}, {t} {code.widen(no, elem, vl)}"
    return Res(code.let(lvl, f"select {llvm_type('i1', test.vl)} {test.v}, {both}"), lvl, vl)


def add_pointer(code: State, op: Op, rs: list[Res]) -> Res:
    """An address moved by elements."""
    p, i = rs
    if i.v == "0":
        return p
    pointee, index = llvm_type(stored(op.results[0].type.pointee)), llvm_type(op.operands[1].type.elem, i.vl)
    if p.vl or i.vl:
        text = f"getelementptr {pointee}, {llvm_type('ptr', p.vl)} {p.v}, {index} {i.v}"
        return Res(code.let(max(p.lvl, i.lvl), text), max(p.lvl, i.lvl), max(p.vl, i.vl))
    move = code.moves.get(p.v)
    if move is None or move.pointee != pointee:
        move = Move(p, pointee, ())
    move = replace(move, offsets=(*move.offsets, *((part, index) for part in _parts(code, i))))
    # What changes least is added first, numbers last: a loop adds what changes in it alone.
    at = move.pointer
    for part, index in sorted(move.offsets, key=lambda offset: (offset[0].constant, offset[0].lvl)):
        key = ("moved", at.v, part.v, pointee, index)
        if key not in code.memo:
            lvl = max(at.lvl, part.lvl)
            code.memo[key] = Res(code.let(lvl, f"getelementptr {pointee}, ptr {at.v}, {index} {part.v}"), lvl)
        at = code.memo[key]
    code.moves[at.v] = move
    return at


def _parts(code: State, i: Res) -> list[Res]:
    """The terms of which an offset is the sum: widened to an address's width one by one they add up to the same."""
    return [part for term in code.sums.get(i.v, ()) for part in _parts(code, term)] or [i]


# ---- what literals decide: masks mostly ------------------------------------------------------------------------------
def mask_of(unit: str) -> Callable[[State, Op, list[Res]], Res | None]:
    """``and`` and ``or`` of masks: the unit changes nothing, its opposite decides."""

    def simplify(code: State, op: Op, rs: list[Res]) -> Res | None:
        if op.operands[0].type.elem == "i1":
            for a, b in ((rs[0], rs[1]), (rs[1], rs[0])):
                if not a.vl and a.v in ("0", "1"):
                    return b if a.v == unit else a
        return None

    return simplify


def with_unit(unit: str, commutes: bool = True) -> Callable[[State, Op, list[Res]], Res | None]:
    """Sums and products: the unit changes nothing."""

    def simplify(code: State, op: Op, rs: list[Res]) -> Res | None:
        if rs[1].v == unit and not rs[1].vl:
            return rs[0]
        return rs[1] if commutes and rs[0].v == unit and not rs[0].vl else None

    return simplify


def known_truth(code: State, op: Op, rs: list[Res]) -> Res | None:
    """A comparison that ranges decide."""
    truth = code.facts.truth(op.results[0])
    return None if truth is None else Res(str(int(truth)))


def same_type(code: State, op: Op, rs: list[Res]) -> Res | None:
    """A cast to the type that is there already."""
    return rs[0] if op.results[0].type.elem == op.operands[0].type.elem else None
