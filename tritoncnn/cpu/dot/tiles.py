"""tt.dot as a register-blocked product of outer products.

A tile of mr rows by nv vectors is kept in registers over the whole reduction. ``operands.py`` says how the factors are reached.
Elements that are masked to zero add nothing to the result, whatever stands opposite of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from tritoncnn.cpu.emit.arith import call_intrinsic
from tritoncnn.cpu.emit.loads import masked_load
from tritoncnn.cpu.emit.pull import pull
from tritoncnn.cpu.emit.regions import logic
from tritoncnn.cpu.emit.scratch import read, write
from tritoncnn.cpu.emit.state import State
from tritoncnn.cpu.emit.values import ZERO, Buffer, Coord, Res
from tritoncnn.cpu.front.elements import FLOATS, llvm_type, mangled, size_of, zero
from tritoncnn.cpu.front.ttir import Value

from .views import Operand, View

UNROLL = 8  # steps of the reduction in one turn of its loop


MultiplyAdd = Callable[[State, str, str, str, str, str], str]  # LLVM type, element, factors, sum -> sum


TILE_STEPS = 96  # multiplications in one turn of the loop: more only make the compiler slow


def multiply_tiles(code: State, A: Operand, B: Operand, panel: int, C: Buffer, c: Value, rows: int, columns: int, K: int,
                   mr: int, nv: int, vl: int, multiply_add: MultiplyAdd) -> None:  # fmt: skip
    """Go through the result in tiles of mr rows by nv vectors."""
    main = rows // mr * mr

    def column(j: Coord, _: list[str]) -> list[str]:
        b = code.element(B.base, C.elem, (j,), (panel // (nv * vl),))
        masks = [] if B.cut is None else [_columns_there(code, B.cut, code.plus(j, y * vl), vl) for y in range(nv)]

        def tile(height: int) -> Callable[[Coord, list[str]], Sequence[str]]:
            def body(i: Coord, _: list[str]) -> list[str]:
                def work() -> None:
                    _tile(code, A, B, b, masks, C, c, i, j, K, height, nv, vl, multiply_add)

                _unless_masked(code, A, i, height, work) if c in code.buffers and code.buffers[
                    c
                ].ptr == C.ptr else work()
                return []

            return body

        code.loop(0, main, mr, tile(mr))
        if main < rows:
            code.loop(main, rows, rows - main, tile(rows - main))
        return []

    code.loop(0, columns, nv * vl, column)


def _columns_there(code: State, cut: View, j: Coord, vl: int) -> str:
    """Which columns of a vector of B its mask leaves."""
    axes = [ZERO, ZERO]
    axes[cut.free] = Coord(j.name, j.lvl, vl)
    there = Res("1")
    for mask in (*cut.free_masks, *cut.free_known):
        there = logic(code, "and", there, pull(code, mask, (axes[0], axes[1]) if mask.type.shape else ()))
    return code.widen(there, "i1", vl)


def _unless_masked(code: State, A: Operand, i: Coord, height: int, work: Callable[[], None]) -> None:
    """Leave out a tile whose rows are all masked: padding, and rows past the end."""
    if A.kind != "rows" or A.zeros is None:
        work()
        return
    some = ""
    for x in range(height):
        row = _row_pointer(code, A, i, x)
        there = code.let(code.depth, f"icmp ne ptr {row.v}, {A.zeros.v}")
        some = code.let(code.depth, f"or i1 {some}, {there}") if some else there
    code.either(some, work, lambda: None)


def _row_pointer(code: State, A: Operand, i: Coord, x: int) -> Res:
    key = ("row", A.base.v, i.name, x)
    if key not in code.memo:
        slot = code.element(A.base, "ptr", (code.plus(i, x),), (1,))
        code.memo[key] = Res(code.let(slot.lvl, f"load ptr, ptr {slot.v}, align 8"), slot.lvl)
    return code.memo[key]


def _tile(code: State, A: Operand, B: Operand, b: Res, masks: Sequence[str], C: Buffer, c: Value, i: Coord, j: Coord, K: int,
          mr: int, nv: int, vl: int, multiply_add: MultiplyAdd) -> None:  # fmt: skip
    """C[i : i + mr, j : j + nv * vl] += A B, the sums in registers.

    Sums of floats begin at 0 and what was there is added last: over a loop of products rounding grows with the root of a
    product's depth, not of the whole loop's.
    Source: Blanchard, Higham & Mary 2020, "A class of fast and accurate summation algorithms", blocked summation.
    """
    elem = C.elem
    lanes = vl if vl > 1 else 0
    t = llvm_type(elem, lanes)
    where = [(code.plus(i, x), code.plus(Coord(j.name, j.lvl, lanes), y * vl)) for x in range(mr) for y in range(nv)]
    apart = elem in FLOATS
    zero = "zeroinitializer" if lanes else "0.0"
    sums = [zero if apart else _before(code, c, at, B, elem, lanes) for at in where]
    types = [t] * len(sums)
    for lo, hi, unroll in turns([x.offsets for x in (A, B) if x.kind != "columns"], K, mr * nv):

        def body(k: Coord, sums: list[str], unroll: int = unroll, hi: int = hi) -> list[str]:
            row_b = _rows_b(code, B, b, elem, j, k, hi, unroll)
            at_a = _elements_a(code, A, elem, i, mr, k, hi, unroll)
            sums = list(sums)
            for u in range(unroll):
                sums = _outer_product(
                    code, sums, row_b(u), masks, [at_a(x, u) for x in range(mr)], nv, elem, lanes, multiply_add
                )
            return sums

        sums = code.loop(lo, hi, unroll, body, list(zip(types, sums, strict=True)))
    for at, total in zip(where, sums, strict=True):
        if apart:
            total = code.let(code.depth, f"fadd {t} {_before(code, c, at, B, elem, lanes)}, {total}")
        write(code, C, at, Res(total, code.depth, lanes))


def _before(code: State, c: Value, at: tuple[Coord, Coord], B: Operand, elem: str, lanes: int) -> str:
    """One vector of what the product is added to. A buffer is read here, not further out: no register is free for long."""
    if c in code.buffers:
        start = code.widen(read(code, replace(code.buffers[c], lvl=code.depth), at), elem, lanes)
    else:
        start = code.widen(pull(code, c, at), elem, lanes)
    if B.lower is None:
        return start
    lower = code.widen(read(code, B.lower, at[1:]), elem, lanes)
    return code.let(code.depth, f"sub {llvm_type(elem, lanes)} {start}, {lower}")


def _outer_product(code: State, sums: list[str], row: Res, masks: Sequence[str], column: list[Res], nv: int, elem: str,
                   lanes: int, multiply_add: MultiplyAdd) -> list[str]:  # fmt: skip
    """One step of the reduction: nv vectors of B, each times every element of A. ``masks``: which of B's columns there are,
    vector by vector; none where all are."""
    d, t, one = code.depth, llvm_type(elem, lanes), llvm_type(elem)
    out = list(sums)
    vectors = []
    for y in range(nv):
        p = code.offset(row, elem, y * max(lanes, 1))
        if masks:
            vectors.append(masked_load(code, d, p.v, elem, lanes, masks[y], Res(zero(elem))))
        else:
            vectors.append(code.let(d, f"load {t}, ptr {p.v}, align {size_of(elem)}"))
    for x, at in enumerate(column):
        a = code.widen(Res(code.let(d, f"load {one}, ptr {at.v}, align {size_of(elem)}"), d), elem, lanes)
        for y in range(nv):
            out[x * nv + y] = multiply_add(code, t, elem, a, vectors[y], sums[x * nv + y])
    return out


def _rows_b(
    code: State, B: Operand, b: Res, elem: str, j: Coord, k: Coord, hi: int, unroll: int
) -> Callable[[int], Res]:
    """Step of the chunk at k -> address of B's row there, at column j."""
    if B.kind == "strided":
        first, inside = _moved(code, b, elem, B.offsets, k, hi, unroll)
        return lambda u: code.offset(first, elem, inside[u])

    def row(u: int) -> Res:
        return code.element(_pointer_at(code, B, code.plus(k, u)), elem, (j,), (1,))

    return row


def _pointer_at(code: State, operand: Operand, n: Coord) -> Res:
    """An entry of an operand's table of pointers."""
    slot = code.element(operand.base, "ptr", (n,), (1,))
    return Res(code.let(code.depth, f"load ptr, ptr {slot.v}, align 8"), code.depth)


def multiply_add_elements(code: State, t: str, elem: str, a: str, b: str, c: str) -> str:
    d = code.depth
    if elem not in FLOATS:
        return code.let(d, f"add {t} {code.let(d, f'mul {t} {a}, {b}')}, {c}")
    vl = int(t[1:].split()[0]) if t[0] == "<" else 0
    return code.let(d, call_intrinsic(code, f"llvm.fma.{mangled(elem, vl)}", t, t, [a, b, c]))


def _moved(
    code: State, base: Res, elem: str, offsets: Sequence[int], k: Coord, hi: int, unroll: int
) -> tuple[Res, list[int]]:
    """Address at step k, where a chunk begins, and how far from there the chunk's steps are."""
    lo = k.number or 0
    inside = [offsets[lo + u] - offsets[lo] for u in range(unroll)]
    if k.number is not None:
        return code.offset(base, elem, offsets[lo]), inside
    starts = offsets[0:hi:unroll]
    step = starts[1] - starts[0]
    if evenly_spaced(starts) and step % unroll == 0:
        return code.element(base, elem, (k,), (step // unroll,)), inside
    key = ("chunk", k.name, tuple(starts))
    if key not in code.memo:
        table = code.table("i64", [starts[n // unroll] for n in range(len(starts) * unroll)])
        slot = code.element(Res(table), "i64", (k,), (1,))
        code.memo[key] = Res(code.let(slot.lvl, f"load i64, ptr {slot.v}, align 8"), slot.lvl)
    far = code.memo[key]
    lvl = max(far.lvl, base.lvl)
    return Res(code.let(lvl, f"getelementptr inbounds {llvm_type(elem)}, ptr {base.v}, i64 {far.v}"), lvl), inside


def _elements_a(
    code: State, A: Operand, elem: str, i: Coord, mr: int, k: Coord, hi: int, unroll: int
) -> Callable[[int, int], Res]:
    """(row of the tile, step of the chunk at k) -> address of A's element."""
    if A.kind == "columns":
        return _elements_transposed(code, A, elem, i, mr, k, unroll)
    if A.kind == "strided":
        base = code.element(A.base, elem, (i,), (A.step,))
        first, inside = _moved(code, base, elem, A.offsets, k, hi, unroll)
        return lambda x, u: code.offset(first, elem, x * A.step + inside[u])
    chunk = []
    for x in range(mr):
        chunk.append(_moved(code, _row_pointer(code, A, i, x), elem, A.offsets, k, hi, unroll))
    return lambda x, u: code.offset(chunk[x][0], elem, chunk[x][1][u])


def _elements_transposed(
    code: State, A: Operand, elem: str, i: Coord, mr: int, k: Coord, unroll: int
) -> Callable[[int, int], Res]:
    """A stored reduction-major: one pointer per step, fixed offsets per row."""
    rows = [_pointer_at(code, A, code.plus(k, u)) for u in range(unroll)]
    if i.number is not None:
        start = i.number
        return lambda x, u: code.offset(rows[u], elem, A.offsets[start + x])
    if evenly_spaced(A.offsets):
        step = A.offsets[1] - A.offsets[0]
        moved = [code.element(row, elem, (i,), (step,)) for row in rows]
        return lambda x, u: code.offset(moved[u], elem, x * step)
    far = []
    for x in range(mr):
        key = ("far", A.offsets, i.name, x)
        if key not in code.memo:
            slot = code.element(Res(code.table("i64", A.offsets)), "i64", (code.plus(i, x),), (1,))
            code.memo[key] = Res(code.let(slot.lvl, f"load i64, ptr {slot.v}, align 8"), slot.lvl)
        far.append(code.memo[key])

    def address(x: int, u: int) -> Res:
        text = f"getelementptr inbounds {llvm_type(elem)}, ptr {rows[u].v}, i64 {far[x].v}"
        return Res(code.let(code.depth, text), code.depth)

    return address


def evenly_spaced(offsets: Sequence[int]) -> bool:
    return len({b - a for a, b in pairwise(offsets)}) <= 1


def turns(offsets: Sequence[Sequence[int]], K: int, size: int) -> list[tuple[int, int, int]]:
    """Cut K steps into (start, stop, steps per turn of the loop), for products of ``size`` multiplications a step.

    In each loop the operands' offsets inside of a turn are the same in every turn.
    """
    best: tuple[int, int] = (2 * K + 2, 1)
    for u in range(min(max(2, min(UNROLL, TILE_STEPS // size)), K), 0, -1):
        main = K // u * u
        alike = all(o[n] - o[n - n % u] == o[n % u] - o[0] for o in offsets for n in range(main))
        if alike:
            best = min(best, (K // u + (2 if K % u else 0), u))
    unroll = best[1]
    main = K // unroll * unroll
    return [(0, main, unroll)] + ([(main, K, K - main)] if main < K else [])
