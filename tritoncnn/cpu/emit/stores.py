"""Stores: plain, masked or scattering, alone or several in one loop."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from tritoncnn.cpu.front.elements import llvm_type, mangled, size_of, stored
from tritoncnn.cpu.front.ttir import Op, Value

from .buffers import cuts_of, fill, materialise, vector_axis
from .loads import lane_stride, masked_kind, unless_empty
from .order import find_conflicts, force_loads, loads_under, origin, wanted_after
from .pull import pull
from .scratch import new_buffer, to_memory
from .state import State
from .transpose import read_axis, squares
from .unmasked import by_rows, find_rows
from .values import Coords, Res


def rank(v: Value) -> int:
    """How many axes have more than one element."""
    return len([n for n in v.type.shape if n > 1])


def store_together(code: State, group: Sequence[Op]) -> None:
    """Stores of one shape, in one loop nest."""
    spare = [load.results[0] for s in group for x in s.operands for load in loads_under(code, x, set())]
    last, p = group[-1], group[0].operands[0]
    force_loads(code, last, [v for v in spare if not wanted_after(code, v, last)])
    if not p.type.shape:
        for s in group:
            store_element(code, s, ())
        return
    for _, load in find_conflicts(code, group):
        if rank(load.results[0]) < rank(p):
            materialise(code, load.results[0])  # a row of biases: cheaper than the whole value
    conflicts = find_conflicts(code, group)
    apart = tensors_differ(code, group, [load for _, load in conflicts])
    if not conflicts or apart == "1":
        store_nest(code, group)
        return

    def afterwards() -> None:
        for x, _ in conflicts:
            if x not in code.buffers:
                axis = vector_axis(code, x)
                b = new_buffer(code, x, axis)
                fill(code, b, x, axis)
                code.buffers[x] = b
        store_nest(code, group)

    if apart is None:
        afterwards()
    else:
        code.either(apart, lambda: store_nest(code, group), afterwards)


def tensors_differ(code: State, group: Sequence[Op], loads: Sequence[Op]) -> str | None:
    """An i1: the stores go to other tensors than the loads read. None: that can't be seen from addresses."""
    stored_to = dict.fromkeys(origin(code, s.operands[0])[0] for s in group)  # in order: the same code in every process
    read = dict.fromkeys(origin(code, load.operands[0])[0] for load in loads)
    test = "1"
    for a, b in itertools.product(stored_to, read):
        if a is b or a not in code.tensors or b not in code.tensors:
            return None
        assert a is not None
        assert b is not None
        differ = code.let(0, f"icmp ne ptr {code.scalars[a].v}, {code.scalars[b].v}")
        test = differ if test == "1" else code.let(0, f"and i1 {test}, {differ}")
    return test


def store_nest(code: State, group: Sequence[Op]) -> None:
    """The loops of stores whose values may be computed on the way."""
    p = group[0].operands[0]
    vaxis, flat = store_axis(code, p)
    if flat and len(group) == 1 and (axis := read_axis(code, group[0].operands[1], vaxis)) is not None:
        store_transposed(code, group[0], axis, vaxis)
        return
    values = [x for s in group for x in s.operands]
    ends = cuts_of(code, values, vaxis, code.lanes)
    rows = find_rows(code, values, vaxis)

    def vectors(coords: Coords) -> None:
        by_rows(code, rows, coords, lambda c: store_vectors(code, group, c))

    code.nest(written(code, group, vaxis), vaxis, vectors, cuts=ends)


def written(code: State, group: Sequence[Op], vaxis: int) -> list[int]:
    """How much of each axis without lanes has a row that is stored, as far as masks are known: the rest of a tile that
    reaches beyond its tensor is not even computed."""
    shape = list(group[0].operands[0].type.shape)
    for d, size in enumerate(shape):
        if d != vaxis and size > 1:
            shape[d] = max(_last_row(code, s.operands[2], d, size) if len(s.operands) > 2 else size for s in group)
    return shape


def _last_row(code: State, mask: Value, d: int, size: int) -> int:
    """One past the last place along an axis where a mask may hold; at least 1."""
    last = size
    for part in code.facts.conjuncts(mask):
        known = code.facts.static(part)
        if known is not None and known.ndim == len(mask.type.shape) and known.shape[d] == size:
            holds = np.flatnonzero(np.moveaxis(known, d, 0).reshape(size, -1).any(axis=1))
            last = min(last, int(holds[-1]) + 1 if holds.size else 1)
    return last


def store_axis(code: State, p: Value) -> tuple[int, bool]:
    """The axis to store along, and whether addresses are contiguous there."""
    shape = p.type.shape
    widths = {d: min(code.lanes, n) for d, n in enumerate(shape)}
    flat = [d for d, n in enumerate(shape) if n > 1 and code.facts.stride(p, d, widths[d]) == 1]
    if flat:
        return max(flat, key=lambda d: (widths[d], d)), True
    return max(range(len(shape)), key=lambda d: (widths[d], d)), False


def store_transposed(code: State, s: Op, axis: int, vaxis: int) -> None:
    """A transposition, by squares: read along ``axis``, written along ``vaxis``."""
    mask = s.operands[2] if len(s.operands) > 2 else None

    def put(coords: Coords, x: str) -> None:
        m = pull(code, mask, coords) if mask else Res("1")
        if m.v != "0":
            store_vector(code, s, coords, m, x)

    squares(code, s.operands[1], axis, vaxis, put)


def store_vectors(code: State, group: Sequence[Op], coords: Coords) -> None:
    """One vector of each store; all values are computed before the first is written."""
    ready = []
    for s in group:
        mask = s.operands[2] if len(s.operands) > 2 else None
        m = pull(code, mask, coords) if mask else Res("1")
        if m.v == "0":
            continue
        ready.append((s, m, pull(code, s.operands[1], coords)))
    vl = max(c.vl for c in coords)
    for s, m, x in ready:
        if vl and (m.vl or lane_stride(code, s.operands[0], coords) != 0):
            store_vector(code, s, coords, m, code.widen(x, s.operands[1].type.elem, vl))
        else:
            store_element(code, s, coords)


def store_vector(code: State, s: Op, coords: Coords, m: Res, x: str) -> None:
    """A vector under a mask."""
    p, elem, vl = s.operands[0], s.operands[1].type.elem, max(c.vl for c in coords)
    step = lane_stride(code, p, coords)
    code.remarks.access(code.facts, s, [c.vl for c in coords], step, m.v != "1")
    value, memory = to_memory(code, x, elem, vl), llvm_type(stored(elem), vl)
    masks = code.widen(m, "i1", vl)
    if step == 1:
        a = pull(code, p, tuple(c.first() for c in coords))
        if not m.vl:  # one mask for all lanes chooses an address
            spare = spare_memory(code, vl * size_of(elem)) if m.v != "1" else ""
            to = code.let(code.depth, f"select i1 {m.v}, ptr {a.v}, ptr {spare}") if spare else a.v
            code.emit(f"store {memory} {value}, ptr {to}, align {size_of(elem)}")
            return
        to = unless_empty(code, code.depth, a.v, masks, vl, spare_memory(code, vl * size_of(elem)))
        kind = masked_kind(elem)
        if size_of(elem) < 4:
            masks = unknown(code, masks, vl)
        if kind != stored(elem):
            value = code.let(code.depth, f"bitcast {memory} {value} to {llvm_type(kind, vl)}")
            memory = llvm_type(kind, vl)
        name = f"llvm.masked.store.{mangled(kind, vl)}.p0"
        call = code.intrinsic(name, "void", memory, "ptr", "i32", f"<{vl} x i1>")
        code.emit(f"{call}({memory} {value}, ptr {to}, i32 {size_of(elem)}, <{vl} x i1> {masks})")
        return
    a = pull(code, p, coords)
    name = f"llvm.masked.scatter.{mangled(stored(elem), vl)}.v{vl}p0"
    call = code.intrinsic(name, "void", memory, f"<{vl} x ptr>", "i32", f"<{vl} x i1>")
    where = f"<{vl} x ptr> {code.widen(a, 'ptr', vl)}, i32 {size_of(elem)}"
    code.emit(f"{call}({memory} {value}, {where}, <{vl} x i1> {masks})")


def unknown(code: State, masks: str, vl: int) -> str:
    """The mask, kept from LLVM 22 for x86: a narrowed vector's masked store of one known lane overwrites the next ones."""
    key = "unknown"
    if key not in code.memo:
        zero = code.let(0, f"load volatile i8, ptr {code.zeros(8)}")
        code.memo[key] = Res(code.let(0, f"icmp eq i8 {zero}, 0"), 0)
    yes = code.widen(code.memo[key], "i1", vl)
    return code.let(code.depth, f"and <{vl} x i1> {masks}, {yes}")


def spare_memory(code: State, size: int) -> str:
    """Scratch that masked stores without a lane may point at; nothing is ever written."""
    if size not in code.spares:
        code.spares[size] = code.alloca("i8", size)
    return code.spares[size]


def store_element(code: State, s: Op, coords: Coords) -> None:
    """One element, if its mask is true; the last lane's where all lanes share an address."""
    p, x, mask = (*s.operands, None)[:3]
    assert p is not None
    assert x is not None
    lanes = any(c.vl for c in coords)
    first = tuple(code.plus(c.first(), (c.vl - 1) * c.step) if c.vl else c for c in coords)
    a, value = pull(code, p, first), pull(code, x, first)
    m = pull(code, mask, first) if mask else Res("1")
    elem = x.type.elem
    code.remarks.element(
        s, "store", m.v != "1", "all lanes write to one address" if lanes else "its block has one element"
    )

    def put() -> None:
        stored_value = to_memory(code, value.v, elem, 0)
        code.emit(f"store {llvm_type(stored(elem))} {stored_value}, ptr {a.v}, align {size_of(elem)}")

    code.when(m.v, put)
