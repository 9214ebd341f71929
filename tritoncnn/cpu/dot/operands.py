"""The operands of tt.dot: read in place where their addresses allow, else computed into scratch or packed.

An operand is read where it lies if its addresses are ``pointer(one axis) + fixed offset(other axis)``: rows of pixels with
a window's offsets, or the transpose of that. Rows that are masked off read zeros through their pointer.
"""

from __future__ import annotations

from collections.abc import Sequence

from tritoncnn.cpu.emit.buffers import materialise
from tritoncnn.cpu.emit.pull import available, pull
from tritoncnn.cpu.emit.state import State
from tritoncnn.cpu.emit.values import ZERO, Coord, Res
from tritoncnn.cpu.front.elements import llvm_type, size_of
from tritoncnn.cpu.front.ttir import Value

from .panels import pack
from .views import Operand, View

ZEROS_LIMIT = 1 << 18  # bytes of zeros that masked rows may be pointed at
IN_CACHE = 1 << 14  # bytes of B that may be read in place by many tiles


def operand_a(code: State, a: Value, view: View | None, rows: int, K: int) -> Operand:
    """A in place, or computed into scratch."""
    if view is not None:
        p = view.load.operands[0]
        free, red = code.facts.offsets(p, view.free), code.facts.offsets(p, view.red)
        if red is not None and not view.red_masks:
            fixed = tuple(int(x) for x in red[:K])
            step = code.facts.stride(p, view.free, p.type.shape[view.free])
            if step is not None and not view.free_masks:
                read_in_place(code, a, view, f"its rows lie {step} elements apart")
                return Operand("strided", first_pointer(code, view), step, fixed)
            if zeros_fit(fixed, a.type.elem):
                read_in_place(code, a, view, "its rows are reached through a table of addresses")
                table = table_of_pointers(code, view, view.free, rows, fixed)
                zeros = zeros_at(code, fixed, a.type.elem) if view.free_masks else None
                return Operand("rows", table, 0, fixed, zeros)
        if free is not None and not view.free_masks:
            fixed = tuple(int(x) for x in free[:rows])
            if zeros_fit(fixed, a.type.elem):
                read_in_place(code, a, view, "its columns are reached through a table of addresses")
                return Operand("columns", table_of_pointers(code, view, view.red, K, fixed), 0, fixed)
    why = code.remarks.reasons.get(a, "neither its rows nor its columns lie at fixed offsets from each other")
    code.remarks.reasons[a] = f"from scratch: {why}"
    b = materialise(code, a)
    return Operand("strided", Res(b.ptr, b.lvl), b.strides[0], tuple(k * b.strides[1] for k in range(K)))


def read_in_place(code: State, v: Value, view: View, why: str) -> None:
    """For ``explain``."""
    code.remarks.reasons[v] = f"in place: {why}"
    code.remarks.in_place(view.load, why)


def zeros_fit(offsets: Sequence[int], elem: str) -> bool:
    return (max(offsets) - min(offsets) + 1) * size_of(elem) <= ZEROS_LIMIT


def _floor_of(code: State, view: View) -> int:
    return code.floors.get(view.load.results[0], 0)


def first_pointer(code: State, view: View) -> Res:
    """Address of a view's first element."""
    p = pull(code, view.load.operands[0], (ZERO, ZERO))
    return Res(p.v, max(p.lvl, _floor_of(code, view)))


def zeros_at(code: State, offsets: Sequence[int], elem: str) -> Res:
    """Where a masked row points: zeros at all of the offsets."""
    zeros = code.zeros((max(offsets) - min(offsets) + 1 + code.lanes) * size_of(elem))
    return code.offset(Res(zeros), elem, -min(offsets))


def table_of_pointers(code: State, view: View, axis: int, count: int, offsets: Sequence[int]) -> Res:
    """A table of addresses along one axis of a view; masked ones lead to zeros, whatever offset is added."""
    p = view.load.operands[0]
    elem = view.load.results[0].type.elem
    masks = view.free_masks if axis == view.free else view.red_masks
    lvl = max([available(code, x) for x in (p, *masks)] + [_floor_of(code, view)])
    with code.at_level(lvl):
        table = code.alloca("ptr", p.type.shape[axis])
        nothing = zeros_at(code, offsets, elem)
        size = p.type.shape[axis]
        vl = min(8, size)
        vl = 0 if vl == 1 else vl

        def body(i: Coord, _: list[str]) -> list[str]:
            at = [ZERO, ZERO]
            at[axis] = Coord(i.name, i.lvl, vl)
            there = (at[0], at[1])
            x = code.widen(pull(code, p, there), "ptr", vl)
            for mask in masks:
                m = pull(code, mask, there if mask.type.shape else ())
                if m.v != "1":
                    t = llvm_type("ptr", vl)
                    no = code.widen(Res(nothing.v, nothing.lvl), "ptr", vl)
                    x = code.let(code.depth, f"select {llvm_type('i1', m.vl)} {m.v}, {t} {x}, {t} {no}")
            to = code.element(Res(table), "ptr", (Coord(i.name, i.lvl),), (1,))
            code.emit(f"store {llvm_type('ptr', vl)} {x}, ptr {to.v}, align 8")
            return []

        code.loop(0, -(-count // max(vl, 1)) * max(vl, 1), max(vl, 1), body)
    return Res(table, lvl)


def operand_b(
    code: State, b: Value, view: View | None, rows: int, K: int, columns: int, NR: int, mr: int
) -> tuple[Operand, int]:
    """B in place or packed, and the distance of its panels of NR columns."""
    why = code.remarks.reasons.get(b, "")
    far: View | None = None
    if view is not None:
        p = view.load.operands[0]
        n = p.type.shape[view.free]
        flat = n == 1 or code.facts.stride(p, view.free, n) == 1
        why = "its rows are masked" if flat else "its rows are not contiguous"
        whole = not view.free_masks and view.free_size == n
        if flat and (whole or (rows <= mr and n > 1)):  # a mask is looked at once for each element, as in packing
            red = code.facts.offsets(p, view.red)
            span = int(red[:K].max() - red[:K].min() + columns) * size_of(b.type.elem) if red is not None else 0
            far = view if span > 2 * K * columns * size_of(b.type.elem) else None
            # Rows far apart share few sets of the cache: a second tile would find little of what the first one read.
            near = rows <= (1 if far else 2) * mr or (red is not None and span <= IN_CACHE)
            why = f"{-(-rows // mr)} tiles read it, and its rows span {span} bytes"
            if red is not None and not view.red_masks and near:
                read_in_place(code, b, view, "its rows are contiguous and lie at fixed offsets")
                offsets = tuple(int(x) for x in red[:K])
                return Operand("strided", first_pointer(code, view), 0, offsets, cut=None if whole else view), NR
            if near and not (red is not None and not view.red_masks):
                read_in_place(code, b, view, "its rows are reached through a table of addresses")
                table = table_of_pointers(code, view, view.red, K, range(n))
                return Operand("columns", table, 0, tuple(range(columns)), cut=None if whole else view), NR
    if b in code.buffers and code.buffers[b].strides[1] == (1 if b.type.shape[1] > 1 else 0):
        done = code.buffers[b]
        code.remarks.reasons[b] = "from scratch: it is computed already"
        return Operand("strided", Res(done.ptr, done.lvl), 0, tuple(k * done.strides[0] for k in range(K))), NR
    code.remarks.reasons[b] = f"packed into panels of {NR} columns: {why}"
    return pack(code, b, K, columns, NR, far), K * NR
