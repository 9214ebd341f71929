"""tt.dot as a register-blocked product of outer products.

A tile of mr rows by nv vectors is kept in registers over the whole reduction. ``operands.py`` says where the factors lie.
Elements that are masked to zero add nothing to the result, whatever stands opposite of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from tritoncnn.cpu.emit.values import Buffer, Coord, Res
from tritoncnn.cpu.facts.remarks import Product
from tritoncnn.cpu.front.elements import FLOATS, llvm_type, size_of
from tritoncnn.cpu.front.ttir import Op, Type, Value, unsupported

from .amx import Amx
from .operands import Operand
from .packed import Word

UNROLL = 8  # steps of the reduction in one turn of its loop
MultiplyAdd = Callable[[str, str, str, str, str], str]  # LLVM type, element, factors, sum -> sum
TILE_STEPS = 96  # multiplications in one turn of the loop: more only make the compiler slow


class Dot(Amx):
    """Matrix products."""

    def dot(self, op: Op) -> None:
        a, b, c = op.operands
        r = op.results[0]
        word = self.word(op)
        if word is None:
            a, b = (self.widened(x, r.type.elem, op) for x in (a, b))
        (M, K), N = a.type.shape, b.type.shape[1]
        views = self.view(a, 0, 1), self.view(b, 1, 0)
        K = min([K] + [v.red_size for v in views if v])
        rows = views[0].free_size if views[0] else M
        vl = min(self.lanes, N)
        columns = min(N, -(-views[1].free_size // vl) * vl) if views[1] else N
        rows, columns, K = (max(n, 0) for n in (rows, columns, K))
        tiles = word is not None and self.in_tiles(op, word)
        in_place = self.may_overwrite(c, op)
        C = self.buffers[c] if in_place else self.new_buffer(r, 1)
        if not in_place:
            self.outside(C, c, rows if columns and K and not tiles else 0, columns)
        if word and tiles:
            self.product_in_tiles(op, word, C, views[0])
        elif rows and columns and K:
            each = word.each if word else 1
            cut, K = bool(K % each), -(-K // each)  # of words
            A = self.words_a(a, views[0], rows, K * each, cut, word) if word else self.operand_a(a, views[0], rows, K)
            mr, nv = self.tile_shape(rows, columns // vl, A.kind)
            if word:
                B, panels = self.words_b(b, K * each, columns, nv * vl, word), K * nv * vl
            else:
                B, panels = self.operand_b(b, views[1], rows, K, columns, nv * vl, mr)
            self.note_product(op, (a, b), (rows, columns, K * each), (mr, nv), vl, word)
            by_words: dict[int, MultiplyAdd] = {2: self.multiply_add_pairs, 4: self.multiply_add_fours}
            multiply_add = by_words.get(each, self.multiply_add)
            self.tiles(A, B, panels, C, c, rows, columns, K, mr, nv, vl, multiply_add)
        self.buffers[r] = Buffer(C.ptr, C.shape, C.strides, C.elem, self.depth)

    def note_product(self, op: Op, factors: tuple[Value, Value], sizes: tuple[int, int, int], tile: tuple[int, int],
                     vl: int, word: Word | None) -> None:  # fmt: skip
        """For ``explain``."""
        elem, given = op.results[0].type.elem, op.operands[0].type.elem
        multiply = f"multiply-add of {elem}"
        if word:
            multiply = word.called
        elif given != elem:
            multiply += f", widened from {given} ({self.words_refused(op)})"
        a, b = (self.remarks.reasons[x] for x in factors)
        self.remarks.product(Product(op.where, sizes, tile, vl, multiply, a, b))

    def widened(self, x: Value, elem: str, op: Op) -> Value:
        """The operand in the accumulator's type, still lazy."""
        if x.type.elem == elem:
            return x
        if (x.type.elem in FLOATS) != (elem in FLOATS):
            raise unsupported(op, f"a product of {x.type.elem} into {elem} is not supported")
        cast = Op("arith.extf" if elem in FLOATS else "arith.extsi", [x], [], {"words": []}, op.where, op.position)
        value = Value(x.name + "w", Type(x.type.shape, elem), cast, x.block, [op])
        cast.results = [value]
        return value

    def may_overwrite(self, c: Value, op: Op) -> bool:
        """Is the accumulator a buffer that nothing else will read?"""
        if (
            c not in self.buffers
            or len(c.users) != 1
            or self.buffers[c].strides[-1] != (1 if c.type.shape[-1] > 1 else 0)
        ):
            return False
        shared = [v for v, b in self.buffers.items() if b.ptr == self.buffers[c].ptr and v is not c]
        if any(self.wanted_after(v, op) or any(u.position > op.position for u in v.users) for v in shared):
            return False
        return c.block is op.block  # born in this block: an outer value is wanted again in the next iteration

    def outside(self, C: Buffer, c: Value, rows: int, columns: int) -> None:
        """Fill what the tiles will not write with the accumulator's value."""
        M, N = C.shape
        vl = min(self.lanes, N)
        vl = 0 if vl == 1 else vl
        for start, stop, left in ((0, rows, columns), (rows, M, 0)):
            if start < stop and left < N:

                def row(i: Coord, _: list[str], left: int = left) -> list[str]:
                    def vector(j: Coord, _: list[str]) -> list[str]:
                        at = (i, Coord(j.name, j.lvl, vl))
                        self.write(C, at, self.eval(c, at))
                        return []

                    self.loop(left, N, max(vl, 1), vector)
                    return []

                self.loop(start, stop, 1, row)

    def tile_shape(self, rows: int, vectors: int, kind: str) -> tuple[int, int]:
        """Rows and vectors of a register tile: few loads per multiplication, enough independent sums, little left over.

        A table of rows costs an address register per row; other operands are reached from one.
        """
        registers = 16 if self.lanes == 8 else 32
        best = (math.inf, 1, 1)
        for nv in (1, 2, 3, 4, 6, 8):
            if vectors % nv:
                continue
            most = max(1, (registers - nv - 2) // nv)
            if nv == 1:  # one tile for all rows if it fits; else few enough for their addresses
                most = 8 if kind == "rows" else most if rows <= most else 12
            most = min(most, rows)
            mr = -(-rows // -(-rows // most))
            waste = -(-rows // mr) * mr / rows
            idle = max(1.0, 8 / (mr * nv))
            best = min(best, ((mr + nv) / (mr * nv) * waste * idle, mr, nv))
        return best[1], best[2]

    def tiles(self, A: Operand, B: Operand, panel: int, C: Buffer, c: Value, rows: int, columns: int, K: int,
              mr: int, nv: int, vl: int, multiply_add: MultiplyAdd) -> None:  # fmt: skip
        main = rows // mr * mr

        def column(j: Coord, _: list[str]) -> list[str]:
            b = self.element(B.base, C.elem, (j,), (panel // (nv * vl),))

            def tile(height: int) -> Callable[[Coord, list[str]], Sequence[str]]:
                def body(i: Coord, _: list[str]) -> list[str]:
                    def work() -> None:
                        self.tile(A, B, b, C, c, i, j, K, height, nv, vl, multiply_add)

                    self.unless_masked(A, i, height, work) if c in self.buffers and self.buffers[
                        c
                    ].ptr == C.ptr else work()
                    return []

                return body

            self.loop(0, main, mr, tile(mr))
            if main < rows:
                self.loop(main, rows, rows - main, tile(rows - main))
            return []

        self.loop(0, columns, nv * vl, column)

    def unless_masked(self, A: Operand, i: Coord, height: int, work: Callable[[], None]) -> None:
        """Leave out a tile whose rows are all masked: padding, and rows past the end."""
        if A.kind != "rows" or A.zeros is None:
            work()
            return
        some = ""
        for x in range(height):
            row = self.row_pointer(A, i, x)
            there = self.let(self.depth, f"icmp ne ptr {row.v}, {A.zeros.v}")
            some = self.let(self.depth, f"or i1 {some}, {there}") if some else there
        self.either(some, work, lambda: None)

    def row_pointer(self, A: Operand, i: Coord, x: int) -> Res:
        key = ("row", A.base.v, i.name, x)
        if key not in self.memo:
            slot = self.element(A.base, "ptr", (self.plus(i, x),), (1,))
            self.memo[key] = Res(self.let(slot.lvl, f"load ptr, ptr {slot.v}, align 8"), slot.lvl)
        return self.memo[key]

    def tile(self, A: Operand, B: Operand, b: Res, C: Buffer, c: Value, i: Coord, j: Coord, K: int, mr: int, nv: int,
             vl: int, multiply_add: MultiplyAdd) -> None:  # fmt: skip
        """C[i : i + mr, j : j + nv * vl] += A B, the sums in registers."""
        elem = C.elem
        lanes = vl if vl > 1 else 0
        t = llvm_type(elem, lanes)
        where = [
            (self.plus(i, x), self.plus(Coord(j.name, j.lvl, lanes), y * vl)) for x in range(mr) for y in range(nv)
        ]
        sums = [self.begin(c, at, B, elem, lanes) for at in where]
        types = [t] * len(sums)
        for lo, hi, unroll in turns([x.offsets for x in (A, B) if x.kind != "columns"], K, mr * nv):

            def body(k: Coord, sums: list[str], unroll: int = unroll, hi: int = hi) -> list[str]:
                row_b = self.rows_b(B, b, elem, j, k, hi, unroll)
                at_a = self.elements_a(A, elem, i, mr, k, hi, unroll)
                sums = list(sums)
                for u in range(unroll):
                    sums = self.outer_product(
                        sums, row_b(u), [at_a(x, u) for x in range(mr)], nv, elem, lanes, multiply_add
                    )
                return sums

            sums = self.loop(lo, hi, unroll, body, list(zip(types, sums, strict=True)))
        for at, total in zip(where, sums, strict=True):
            self.write(C, at, Res(total, self.depth, lanes))

    def begin(self, c: Value, at: tuple[Coord, Coord], B: Operand, elem: str, lanes: int) -> str:
        """What the sums of one vector of the result begin with."""
        start = self.widen(self.eval(c, at), elem, lanes)
        if B.lower is None:
            return start
        lower = self.widen(self.read(B.lower, at[1:]), elem, lanes)
        return self.let(self.depth, f"sub {llvm_type(elem, lanes)} {start}, {lower}")

    def outer_product(self, sums: list[str], row: Res, column: list[Res], nv: int, elem: str, lanes: int,
                      multiply_add: MultiplyAdd) -> list[str]:  # fmt: skip
        """One step of the reduction: nv vectors of B, each times every element of A."""
        d, t, one = self.depth, llvm_type(elem, lanes), llvm_type(elem)
        out = list(sums)
        vectors = []
        for y in range(nv):
            p = self.offset(row, elem, y * max(lanes, 1))
            vectors.append(self.let(d, f"load {t}, ptr {p.v}, align {size_of(elem)}"))
        for x, at in enumerate(column):
            a = self.widen(Res(self.let(d, f"load {one}, ptr {at.v}, align {size_of(elem)}"), d), elem, lanes)
            for y in range(nv):
                out[x * nv + y] = multiply_add(t, elem, a, vectors[y], sums[x * nv + y])
        return out

    def rows_b(self, B: Operand, b: Res, elem: str, j: Coord, k: Coord, hi: int, unroll: int) -> Callable[[int], Res]:
        """Step of the chunk at k -> address of B's row there, at column j."""
        if B.kind == "strided":
            first, inside = self.moved(b, elem, B.offsets, k, hi, unroll)
            return lambda u: self.offset(first, elem, inside[u])

        def row(u: int) -> Res:
            return self.element(self.pointer_at(B, self.plus(k, u)), elem, (j,), (1,))

        return row

    def pointer_at(self, operand: Operand, n: Coord) -> Res:
        """An entry of an operand's table of pointers."""
        slot = self.element(operand.base, "ptr", (n,), (1,))
        return Res(self.let(self.depth, f"load ptr, ptr {slot.v}, align 8"), self.depth)

    def multiply_add(self, t: str, elem: str, a: str, b: str, c: str) -> str:
        d = self.depth
        if elem not in FLOATS:
            return self.let(d, f"add {t} {self.let(d, f'mul {t} {a}, {b}')}, {c}")
        vl = int(t[1:].split()[0]) if t[0] == "<" else 0
        return self.let(d, self._call(f"llvm.fma.{self.mangled(elem, vl)}", t, t, [a, b, c]))

    def moved(
        self, base: Res, elem: str, offsets: Sequence[int], k: Coord, hi: int, unroll: int
    ) -> tuple[Res, list[int]]:
        """Address at step k, where a chunk begins, and how far from there the chunk's steps are."""
        lo = k.number or 0
        inside = [offsets[lo + u] - offsets[lo] for u in range(unroll)]
        if k.number is not None:
            return self.offset(base, elem, offsets[lo]), inside
        starts = offsets[0:hi:unroll]
        step = starts[1] - starts[0]
        if evenly_spaced(starts) and step % unroll == 0:
            return self.element(base, elem, (k,), (step // unroll,)), inside
        key = ("chunk", k.name, tuple(starts))
        if key not in self.memo:
            table = self.table("i64", [starts[n // unroll] for n in range(len(starts) * unroll)])
            slot = self.element(Res(table), "i64", (k,), (1,))
            self.memo[key] = Res(self.let(slot.lvl, f"load i64, ptr {slot.v}, align 8"), slot.lvl)
        far = self.memo[key]
        lvl = max(far.lvl, base.lvl)
        return Res(self.let(lvl, f"getelementptr inbounds {llvm_type(elem)}, ptr {base.v}, i64 {far.v}"), lvl), inside

    def elements_a(
        self, A: Operand, elem: str, i: Coord, mr: int, k: Coord, hi: int, unroll: int
    ) -> Callable[[int, int], Res]:
        """(row of the tile, step of the chunk at k) -> address of A's element."""
        if A.kind == "columns":
            return self.elements_transposed(A, elem, i, mr, k, unroll)
        if A.kind == "strided":
            base = self.element(A.base, elem, (i,), (A.step,))
            first, inside = self.moved(base, elem, A.offsets, k, hi, unroll)
            return lambda x, u: self.offset(first, elem, x * A.step + inside[u])
        chunk = []
        for x in range(mr):
            chunk.append(self.moved(self.row_pointer(A, i, x), elem, A.offsets, k, hi, unroll))
        return lambda x, u: self.offset(chunk[x][0], elem, chunk[x][1][u])

    def elements_transposed(
        self, A: Operand, elem: str, i: Coord, mr: int, k: Coord, unroll: int
    ) -> Callable[[int, int], Res]:
        """A stored reduction-major: one pointer per step, fixed offsets per row."""
        rows = [self.pointer_at(A, self.plus(k, u)) for u in range(unroll)]
        if i.number is not None:
            start = i.number
            return lambda x, u: self.offset(rows[u], elem, A.offsets[start + x])
        if evenly_spaced(A.offsets):
            step = A.offsets[1] - A.offsets[0]
            moved = [self.element(row, elem, (i,), (step,)) for row in rows]
            return lambda x, u: self.offset(moved[u], elem, x * step)
        far = []
        for x in range(mr):
            key = ("far", A.offsets, i.name, x)
            if key not in self.memo:
                slot = self.element(Res(self.table("i64", A.offsets)), "i64", (self.plus(i, x),), (1,))
                self.memo[key] = Res(self.let(slot.lvl, f"load i64, ptr {slot.v}, align 8"), slot.lvl)
            far.append(self.memo[key])

        def address(x: int, u: int) -> Res:
            text = f"getelementptr inbounds {llvm_type(elem)}, ptr {rows[u].v}, i64 {far[x].v}"
            return Res(self.let(self.depth, text), self.depth)

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
