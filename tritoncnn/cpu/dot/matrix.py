"""tt.dot of two matrices: what is masked is cut off, the factors are reached, the tiles' shape is chosen."""

from __future__ import annotations

import math

from tritoncnn.cpu.emit.order import wanted_after
from tritoncnn.cpu.emit.pull import pull
from tritoncnn.cpu.emit.scratch import new_buffer, write
from tritoncnn.cpu.emit.state import State
from tritoncnn.cpu.emit.values import Buffer, Coord
from tritoncnn.cpu.facts.remarks import Product
from tritoncnn.cpu.front.elements import FLOATS
from tritoncnn.cpu.front.ttir import Op, Type, Value, unsupported

from .amx import in_tiles, product_in_tiles
from .operands import operand_a, operand_b
from .packed import (
    Word,
    multiply_add_fours,
    multiply_add_pairs,
    word_of,
    words_a,
    words_b,
    words_refused,
)
from .tiles import MultiplyAdd, multiply_add_elements, multiply_tiles
from .views import view_of

ADDRESSED = 6, 9  # rows of a tile that have addresses of their own: of one vector, of several


def matrix_product(code: State, op: Op) -> None:
    """Write c + a b into a buffer."""
    a, b, c = op.operands
    r = op.results[0]
    word = word_of(code, op)
    if word is None:
        a, b = (_widened(x, r.type.elem, op) for x in (a, b))
    (M, K), N = a.type.shape, b.type.shape[1]
    views = view_of(code, a, 0, 1), view_of(code, b, 1, 0)
    K = min([K] + [v.red_size for v in views if v])
    rows = views[0].free_size if views[0] else M
    vl = min(code.lanes, N)
    columns = min(N, -(-views[1].free_size // vl) * vl) if views[1] else N
    rows, columns, K = (max(n, 0) for n in (rows, columns, K))
    tiles = word is not None and in_tiles(code, op, word)
    in_place = may_overwrite(code, c, op)
    C = code.buffers[c] if in_place else new_buffer(code, r, 1)
    if not in_place:
        _fill_outside(code, C, c, rows if columns and K and not tiles else 0, columns)
    if word and tiles:
        product_in_tiles(code, op, word, C, views[0])
    elif rows and columns and K:
        each = word.each if word else 1
        cut, K = bool(K % each), -(-K // each)  # of words
        A = words_a(code, a, views[0], rows, K * each, cut, word) if word else operand_a(code, a, views[0], rows, K)
        mr, nv = tile_shape(code, rows, columns // vl, A.kind)
        if word:
            B, panels = words_b(code, b, K * each, columns, nv * vl, word), K * nv * vl
        else:
            B, panels = operand_b(code, b, views[1], rows, K, columns, nv * vl, mr)
        _note_product(code, op, (a, b), (rows, columns, K * each), (mr, nv), vl, word)
        by_words: dict[int, MultiplyAdd] = {2: multiply_add_pairs, 4: multiply_add_fours}
        multiply_add = by_words.get(each, multiply_add_elements)
        multiply_tiles(code, A, B, panels, C, c, rows, columns, K, mr, nv, vl, multiply_add)
    code.buffers[r] = Buffer(C.ptr, C.shape, C.strides, C.elem, code.depth)


def _note_product(code: State, op: Op, factors: tuple[Value, Value], sizes: tuple[int, int, int], tile: tuple[int, int],
                  vl: int, word: Word | None) -> None:  # fmt: skip
    """For ``explain``."""
    elem, given = op.results[0].type.elem, op.operands[0].type.elem
    multiply = f"multiply-add of {elem}"
    if word:
        multiply = word.called
    elif given != elem:
        multiply += f", widened from {given} ({words_refused(code, op)})"
    a, b = (code.remarks.reasons[x] for x in factors)
    code.remarks.product(Product(op.where, sizes, tile, vl, multiply, a, b))


def _widened(x: Value, elem: str, op: Op) -> Value:
    """The operand in the accumulator's type, still lazy."""
    if x.type.elem == elem:
        return x
    if (x.type.elem in FLOATS) != (elem in FLOATS):
        raise unsupported(op, f"a product of {x.type.elem} into {elem} is not supported")
    cast = Op("arith.extf" if elem in FLOATS else "arith.extsi", [x], [], {"words": []}, op.where, op.position)
    value = Value(x.name + "w", Type(x.type.shape, elem), cast, x.block, [op])
    cast.results = [value]
    return value


def may_overwrite(code: State, c: Value, op: Op) -> bool:
    """Is the accumulator a buffer that nothing else will read?"""
    if c not in code.buffers or len(c.users) != 1 or code.buffers[c].strides[-1] != (1 if c.type.shape[-1] > 1 else 0):
        return False
    shared = [v for v, b in code.buffers.items() if b.ptr == code.buffers[c].ptr and v is not c]
    if any(wanted_after(code, v, op) or any(u.position > op.position for u in v.users) for v in shared):
        return False
    return c.block is op.block  # born in this block: an outer value is wanted again in the next iteration


def _fill_outside(code: State, C: Buffer, c: Value, rows: int, columns: int) -> None:
    """Fill what the tiles will not write with the accumulator's value."""
    M, N = C.shape
    vl = min(code.lanes, N)
    vl = 0 if vl == 1 else vl
    for start, stop, left in ((0, rows, columns), (rows, M, 0)):
        if start < stop and left < N:

            def row(i: Coord, _: list[str], left: int = left) -> list[str]:
                def vector(j: Coord, _: list[str]) -> list[str]:
                    at = (i, Coord(j.name, j.lvl, vl))
                    write(code, C, at, pull(code, c, at))
                    return []

                code.loop(left, N, max(vl, 1), vector)
                return []

            code.loop(start, stop, 1, row)


def tile_shape(code: State, rows: int, vectors: int, kind: str) -> tuple[int, int]:
    """Rows and vectors of a register tile: few loads per multiplication, enough independent sums, little left over.

    A table of rows costs an address register per row; other operands are reached from one.
    """
    registers = 16 if code.lanes == 8 else 32
    best = (math.inf, 1, 1)
    for nv in (1, 2, 3, 4, 6, 8):
        if vectors % nv:
            continue
        most = max(1, (registers - nv - 2) // nv)
        if kind == "rows":  # few enough for their addresses
            most = min(most, ADDRESSED[nv > 1])
        elif nv == 1 and rows > most:  # one tile for all rows if it fits
            most = 12
        most = min(most, rows)
        mr = -(-rows // -(-rows // most))
        waste = -(-rows // mr) * mr / rows
        idle = max(1.0, 8 / (mr * nv))
        best = min(best, ((mr + nv) / (mr * nv) * waste * idle, mr, nv))
    return best[1], best[2]
