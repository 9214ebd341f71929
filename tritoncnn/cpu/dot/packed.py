"""Products of narrow types by the CPU's own instructions, which take words of 32 bits: pairs of bf16, fours of i8.

One instruction multiplies 16 words by 16 and adds the products inside of each to 16 sums. Neighbours along the reduction
make a word: rows of A hold words as they are, B is packed with so many rows interleaved. A word has the size of a sum, so
tiles.py's tiles move it as one.

bf16  VDPBF16PS takes subnormal numbers as zero (Intel SDM); otherwise the error is that of a sum in f32.
i8    VPDPBUSD takes A without a sign: A + 128 is multiplied, and sums begin 128 times the sum of B's column lower.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tritoncnn.cpu.emit.buffers import fill, vector_axis
from tritoncnn.cpu.emit.loads import masked_kind
from tritoncnn.cpu.emit.pull import available, pull
from tritoncnn.cpu.emit.scratch import new_buffer, read, write
from tritoncnn.cpu.emit.state import State
from tritoncnn.cpu.emit.values import Buffer, Coord, Res
from tritoncnn.cpu.front.elements import llvm_type, size_of
from tritoncnn.cpu.front.ttir import Op, Value

from .operands import first_pointer, read_in_place, table_of_pointers, zeros_at, zeros_fit
from .panels import fill_panels, panel_at
from .views import Operand, View

LANES = 16
OFFSETS = 0x80808080 - (1 << 32)  # 128 in each byte of an i32


@dataclass(frozen=True)
class Word:
    """``each`` neighbours of a type make a word, whose products go into sums of type ``into``."""

    each: int
    into: str
    feature: str
    called: str


WORDS = {
    "bf16": Word(2, "f32", "avx512bf16", "pairs of bf16 (avx512-bf16)"),
    "i8": Word(4, "i32", "avx512vnni", "fours of i8 (avx512-vnni)"),
}


def runs(offsets: np.ndarray) -> list[tuple[int, int, int]]:
    """(where in the row, where in memory, length) of neighbours along the reduction; [] where they are too short to pay."""
    breaks = [0, *(int(n) + 1 for n in np.flatnonzero(np.diff(offsets) != 1)), len(offsets)]
    found = [(a, int(offsets[a]), b - a) for a, b in itertools.pairwise(breaks)]
    return found if 4 * len(found) <= len(offsets) else []


def word_of(code: State, op: Op) -> Word | None:
    return None if words_refused(code, op) else WORDS[op.operands[0].type.elem]


def words_refused(code: State, op: Op) -> str:
    """Why a product does not go by words; "" when it does."""
    a, b = op.operands[:2]
    word = WORDS.get(a.type.elem)
    if word is None or b.type.elem != a.type.elem or op.results[0].type.elem != word.into:
        return "words are for bf16 into f32, and i8 into i32"
    if word.feature not in code.features or code.lanes != LANES:
        return f"the CPU has no {word.feature.replace('avx512', 'avx512-')}"
    if a.type.shape[1] % word.each or b.type.shape[1] % LANES:
        return f"words need a depth that {word.each} divides and a multiple of {LANES} columns"
    return "" if vector_axis(code, b) == 1 else "B is not contiguous along its columns"


def words_a(
    code: State, a: Value, view: View | None, rows: int, K: int, cut: bool, word: Word, apart: bool = False
) -> Operand:
    """A read as words: in place, or row-major in scratch.

    cut    the last word may reach past the end
    apart  each row's words must be neighbours, and rows a fixed distance apart
    """
    each, kept = word.each, (view is not None and not cut and not view.red_masks)
    if view is not None and kept and (words := _in_words(code, view, K, each)) is not None:
        p = view.load.operands[0]
        step = code.facts.stride(p, view.free, p.type.shape[view.free])
        near = not apart or words == tuple(range(len(words)))
        if step is not None and step % each == 0 and not view.free_masks and near:
            read_in_place(code, a, view, f"its rows lie {step} elements apart and hold words")
            return Operand("strided", first_pointer(code, view), step // each, words)
        fixed = [each * w + part for w in words for part in range(each)]
        if not apart and zeros_fit(fixed, a.type.elem):
            read_in_place(code, a, view, "its rows hold words and are reached through a table of addresses")
            zeros = zeros_at(code, fixed, a.type.elem) if view.free_masks else None
            return Operand("rows", table_of_pointers(code, view, view.free, rows, fixed), 0, words, zeros)
    red = code.facts.offsets(view.load.operands[0], view.red) if view is not None and not view.red_masks else None
    if view is not None and red is not None and (found := runs(red[: min(K, view.red_size)])):
        code.remarks.reasons[a] = f"copied row by row, in {len(found)} runs: neighbours make one word"
        code.remarks.copied(view.load, 64 // size_of(a.type.elem))
        return _copy_runs(code, a, view, rows, found, K // each, each)
    if not apart and a.type.shape[0] % LANES == 0 and vector_axis(code, a) == 0:
        return _interleave_columns(code, a, rows, K // each, word)
    code.remarks.reasons[a] = "copied row by row: neighbours make one word"
    with code.at_level(available(code, a)):
        buffer = new_buffer(code, a, 1)
        fill(code, buffer, a, 1)
    return Operand("strided", Res(buffer.ptr, buffer.lvl), buffer.strides[0] // each, tuple(range(K // each)))


def _in_words(code: State, view: View, K: int, each: int) -> tuple[int, ...] | None:
    """Offsets of the words along the reduction, if neighbours lie side by side in memory."""
    red = code.facts.offsets(view.load.operands[0], view.red)
    if red is None:
        return None
    first = red[0:K:each]
    if (first % each).any() or any((red[part:K:each] != first + part).any() for part in range(1, each)):
        return None
    return tuple(int(x) // each for x in first)


def _interleave_columns(code: State, a: Value, rows: int, words: int, word: Word) -> Operand:
    """A that lies contiguous along its rows' index, as the picture of a filter gradient: so many columns interleaved."""
    code.remarks.reasons[a] = f"packed column by column: {word.each} columns are interleaved"
    lvl, size = available(code, a), -(-rows // LANES) * LANES
    with code.at_level(lvl):
        packed = Buffer(code.alloca(llvm_type(word.into), words * size), (words, size), (size, 1), word.into, lvl)

        def step(k: Coord, _: list[str]) -> list[str]:
            first = code.times(k, word.each)

            def vector(i: Coord, _: list[str]) -> list[str]:
                at = Coord(i.name, i.lvl, LANES)
                columns = [pull(code, a, (at, code.plus(first, x))) for x in range(word.each)]
                write(code, packed, (k, at), _interleaved(code, columns, a.type.elem, word))
                return []

            code.loop(0, size, LANES, vector)
            return []

        code.loop(0, words, 1, step)
    return Operand("strided", Res(packed.ptr, lvl), 1, tuple(k * size for k in range(words)))


def _copy_runs(
    code: State, a: Value, view: View, rows: int, found: Sequence[tuple[int, int, int]], words: int, each: int
) -> Operand:
    """A row-major in scratch, each row by whole vectors; what the last one of a run brings too much is zero."""
    elem, width = a.type.elem, 64 // size_of(a.type.elem)
    chunks = [(at + n, far + n, min(size - n, width)) for at, far, size in found for n in range(0, size, width)]
    reach = tuple(far + n for _, far, size in chunks for n in (0, size - 1))
    table = table_of_pointers(code, view, view.free, rows, reach)
    memory, kind = llvm_type(masked_kind(elem), width), masked_kind(elem)
    call = code.intrinsic(f"llvm.masked.load.v{width}{kind}.p0", memory, "ptr", "i32", f"<{width} x i1>", memory)
    step = a.type.shape[1]
    with code.at_level(table.lvl):
        buffer = code.alloca(llvm_type(elem), rows * step + width)

        def row(i: Coord, _: list[str]) -> list[str]:
            slot = code.element(table, "ptr", (i,), (1,))
            start = Res(code.let(code.depth, f"load ptr, ptr {slot.v}, align 8"), code.depth)
            to = code.element(Res(buffer, table.lvl), elem, (i,), (step,))
            for at, far, size in chunks:
                mask = ", ".join(f"i1 {int(n < size)}" for n in range(width))
                x = f"ptr {code.offset(start, elem, far).v}, i32 {size_of(elem)}, <{width} x i1> <{mask}>"
                x = code.let(code.depth, f"{call}({x}, {memory} zeroinitializer)")
                code.emit(f"store {memory} {x}, ptr {code.offset(to, elem, at).v}, align {size_of(elem)}")
            return []

        code.loop(0, rows, 1, row)
    return Operand("strided", Res(buffer, table.lvl), step // each, tuple(range(words)))


def words_b(code: State, b: Value, K: int, columns: int, NR: int, word: Word, signed: bool = False) -> Operand:
    """B as panels of NR columns of words; unless the instruction takes ``signed`` A, sums of i8 begin lower."""
    code.remarks.reasons[b] = f"packed into panels of {NR} columns: {word.each} rows are interleaved"
    lvl, depth = available(code, b), K // word.each
    with code.at_level(lvl):
        buffer = Buffer(code.alloca(llvm_type(word.into), depth * columns), (depth, columns), (NR, 1), word.into, lvl)

        def made(k: Coord, at: Coord) -> Res:
            first = code.times(k, word.each)
            rows = [pull(code, b, (code.plus(first, x), at)) for x in range(word.each)]
            return _interleaved(code, rows, b.type.elem, word)

        fill_panels(code, buffer, depth, columns, NR, LANES, made)
        lower = _column_sums(code, buffer, depth, columns, NR) if word is WORDS["i8"] and not signed else None
    return Operand("strided", Res(buffer.ptr, lvl), 0, tuple(k * NR for k in range(depth)), lower=lower)


def _column_sums(code: State, packed: Buffer, depth: int, columns: int, NR: int) -> Buffer:
    """128 times the sum of each column of B."""
    sums = Buffer(code.alloca("i32", columns), (columns,), (1,), "i32", code.depth)

    def panel(j: Coord, _: list[str]) -> list[str]:
        words = panel_at(code, packed, j, depth)

        def vector(n: Coord, _: list[str]) -> list[str]:
            def step(k: Coord, total: list[str]) -> list[str]:
                at = (k, Coord(n.name, n.lvl, LANES))
                return [_fours(code, _offsets_128(code), read(code, words, at).v, total[0])]

            (total,) = code.loop(0, depth, 1, step, [(f"<{LANES} x i32>", "zeroinitializer")])
            at = code.plus(Coord(j.name, j.lvl, LANES), Coord(n.name, n.lvl))
            write(code, sums, (at,), Res(total, code.depth, LANES))
            return []

        code.loop(0, NR, LANES, vector)
        return []

    code.loop(0, columns, NR, panel)
    return sums


def _interleaved(code: State, rows: Sequence[Res], elem: str, word: Word) -> Res:
    """Vectors of neighbouring rows -> one vector of words."""
    d, lanes = code.depth, LANES
    parts, t = [code.widen(r, elem, LANES) for r in rows], llvm_type(elem, LANES)
    bits = 32 // word.each
    while len(parts) > 1:
        picks = ", ".join(f"i32 {k}, i32 {k + lanes}" for k in range(lanes))
        both = [
            code.let(d, f"shufflevector {t} {x}, {t} {y}, <{2 * lanes} x i32> <{picks}>")
            for x, y in zip(parts[::2], parts[1::2], strict=True)
        ]
        wide = f"<{2 * lanes} x {llvm_type(elem) if bits == 32 // word.each else f'i{bits}'}>"
        bits *= 2
        t = f"<{lanes} x i{bits}>" if bits < 32 else llvm_type(word.into, LANES)
        parts = [code.let(d, f"bitcast {wide} {x} to {t}") for x in both]
    return Res(parts[0], d, LANES)


def multiply_add_pairs(code: State, _: str, elem: str, a: str, b: str, c: str) -> str:
    d, t = code.depth, f"<{LANES} x float>"
    pairs = f"<{2 * LANES} x bfloat>"
    x, y = (code.let(d, f"bitcast {t} {v} to {pairs}") for v in (a, b))
    call = code.intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", t, t, pairs, pairs)
    return code.let(d, f"{call}({t} {c}, {pairs} {x}, {pairs} {y})")


def multiply_add_fours(code: State, t: str, elem: str, a: str, b: str, c: str) -> str:
    return _fours(code, code.let(code.depth, f"xor {t} {a}, {_offsets_128(code)}"), b, c)


def _offsets_128(code: State) -> str:
    """128 in each byte. Read from memory: over ``xor`` with the number itself LLVM 22 for x86 legalises without end."""
    key = "128 in each byte"
    if key not in code.memo:
        code.memo[key] = Res(code.let(0, f"load volatile i32, ptr {code.table('i32', [OFFSETS])}"))
    return code.widen(code.memo[key], "i32", LANES)


def _fours(code: State, a: str, b: str, c: str) -> str:
    """c + a b: bytes of a without, of b with a sign."""
    t = f"<{LANES} x i32>"
    call = code.intrinsic("llvm.x86.avx512.vpdpbusd.512", t, t, t, t)
    return code.let(code.depth, f"{call}({t} {c}, {t} {a}, {t} {b})")
