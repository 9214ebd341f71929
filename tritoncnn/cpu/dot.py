"""tt.dot as a register-blocked product of outer products.

A tile of mr rows by nv vectors is kept in registers over the whole reduction. An operand is read where it lies if its
addresses are ``pointer(one axis) + fixed offset(other axis)``: rows of pixels with a window's offsets, or the transpose
of that. Rows that are masked off read zeros through their pointer. Otherwise the operand is computed into scratch.
Elements that are masked to zero add nothing to the result, whatever stands opposite of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .analysis import FLOATS
from .control import Control
from .emit import ZERO, Buffer, Coord, Res, llvm_type, size_of
from .ttir import Op, Type, Value, unsupported

ZEROS_LIMIT = 1 << 18  # bytes of zeros that masked rows may be pointed at
UNROLL = 8  # steps of the reduction in one turn of its loop
TILE_STEPS = 96  # multiplications in one turn of the loop: more only make the compiler slow
IN_CACHE = 1 << 14  # bytes of B that may be read in place by many tiles


@dataclass(frozen=True)
class Operand:
    """How to reach element (free, red) of A, or row red of B.

    kind   "strided": base + free * step + offsets[red]; "rows": table[free] + offsets[red]; "columns": table[red] + offsets[free]
    base   address of element 0, or of the table of pointers
    """

    kind: str
    base: Res
    step: int
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class View:
    """A load that a dot may read in place: axes of the load that are free and reduced, and what its mask says."""

    load: Op
    free: int
    red: int
    free_size: int  # elements in front, beyond which the mask is false
    red_size: int
    free_masks: tuple[Value, ...]  # parts of the mask that are only known when the program runs
    red_masks: tuple[Value, ...]


class Dot(Control):
    """Matrix products."""

    def dot(self, op: Op) -> None:
        a, b, c = op.operands
        r = op.results[0]
        if len(a.type.shape) != 2:
            raise unsupported(op, "only products of two matrices are supported")
        a, b = (self.widened(x, r.type.elem, op) for x in (a, b))
        (M, K), N = a.type.shape, b.type.shape[1]
        views = self.view(a, 0, 1), self.view(b, 1, 0)
        K = min([K] + [v.red_size for v in views if v])
        rows = views[0].free_size if views[0] else M
        vl = min(self.lanes, N)
        columns = min(N, -(-views[1].free_size // vl) * vl) if views[1] else N
        rows, columns, K = (max(n, 0) for n in (rows, columns, K))
        in_place = self.may_overwrite(c, op)
        C = self.buffers[c] if in_place else self.new_buffer(r, 1)
        if not in_place:
            self.outside(C, c, rows if columns and K else 0, columns)
        if rows and columns and K:
            A = self.operand_a(a, views[0], rows, K)
            mr, nv = self.tile_shape(rows, columns // vl, A.kind)
            B, panels = self.operand_b(b, views[1], rows, K, columns, nv * vl, mr)
            self.tiles(A, B, panels, C, c, rows, columns, K, mr, nv, vl)
        self.buffers[r] = Buffer(C.ptr, C.shape, C.strides, C.elem, self.depth)

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
            or self.buffers[c].strides[1] != (1 if c.type.shape[1] > 1 else 0)
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

    # ---- operands ----------------------------------------------------------------------------------------------
    def view(self, v: Value, free: int, red: int) -> View | None:
        """See through to a load whose mask is made of parts that follow one axis each."""
        while v not in self.buffers and v.op is not None and v.op.name == "tt.trans":
            free, red, v = red, free, v.op.operands[0]
        load = v.op
        if v in self.buffers or load is None or load.name != "tt.load" or not v.type.shape:
            return None
        shape = v.type.shape
        mask = load.operands[1] if len(load.operands) > 1 else None
        other = load.operands[2] if len(load.operands) > 2 else None
        sizes = {free: shape[free], red: shape[red]}
        left: dict[int, list[Value]] = {free: [], red: []}
        for part in self.facts.conjuncts(mask) if mask else []:
            if self.facts.truth(part) is False:
                sizes[red] = 0
                continue
            axes = [d for d in (free, red) if part.type.shape and self.facts.varies(part, d)]
            if len(axes) != 1:
                if axes:
                    return None
                left[free].append(part)
                continue
            d = axes[0]
            known = self.facts.static(part)
            if known is not None:
                flags = np.moveaxis(known, d, 0).reshape(known.shape[d], -1)[:, 0]
                prefix = int(flags.argmin()) if not flags.all() else len(flags)
                if not flags[prefix:].any():
                    sizes[d] = min(sizes[d], prefix)
                    continue
            left[d].append(part)
        masked = left[free] or left[red] or sizes[free] < shape[free] or sizes[red] < shape[red]
        if mask is not None and masked and (other is None or not self.is_zero(other)):
            return None
        return View(load, free, red, sizes[free], sizes[red], tuple(left[free]), tuple(left[red]))

    def is_zero(self, v: Value) -> bool:
        """Is the tensor the constant 0 (not -0)?"""
        while v.op is not None and v.op.name in ("tt.splat", "tt.broadcast"):
            v = v.op.operands[0]
        if v.op is None or v.op.name != "arith.constant":
            return False
        text = str(v.op.attrs["value"])
        return text in ("0.000000e+00", "0", "0.0")

    def offsets(self, v: Value, d: int) -> np.ndarray | None:
        """v along axis d relative to its first element, if the program's data do not change it."""
        key = ("offsets", v, d)
        if key not in self.facts.cache:
            self.facts.cache[key] = self._offsets(v, d)
        found: np.ndarray | None = self.facts.cache[key]
        return found

    def _offsets(self, v: Value, d: int) -> np.ndarray | None:
        shape = v.type.shape
        n = shape[d] if shape else 1
        step = self.facts.stride(v, d, n) if shape else 0
        if step is not None:
            return np.arange(n, dtype=np.int64) * step
        known = self.facts.static(v)
        if known is not None:
            moved = np.moveaxis(known.astype(np.int64), d, 0).reshape(n, -1)
            moved = moved - moved[0]
            return moved[:, 0] if (moved == moved[:, :1]).all() else None
        op = v.op
        if op is None:
            return None
        if op.name == "tt.expand_dims":
            return self.offsets(op.operands[0], d - (d > op.number("axis")))
        if op.name in ("tt.broadcast", "arith.extsi"):
            return self.offsets(op.operands[0], d)
        if op.name in ("arith.addi", "arith.subi", "tt.addptr"):
            a, b = (self.offsets(x, d) for x in op.operands)
            return None if a is None or b is None else a - b if op.name == "arith.subi" else a + b
        if op.name == "arith.muli":
            for x, y in (op.operands, op.operands[::-1]):
                c, inner = self.facts.const(y), self.offsets(x, d)
                if c is not None and inner is not None:
                    return inner * c
        return None

    def operand_a(self, a: Value, view: View | None, rows: int, K: int) -> Operand:
        """A in place, or computed into scratch."""
        if view is not None:
            p = view.load.operands[0]
            free, red = self.offsets(p, view.free), self.offsets(p, view.red)
            if red is not None and not view.red_masks:
                fixed = tuple(int(x) for x in red[:K])
                step = self.facts.stride(p, view.free, p.type.shape[view.free])
                if step is not None and not view.free_masks:
                    return Operand("strided", self.pointer(view), step, fixed)
                if self.zeros_fit(fixed, a.type.elem):
                    return Operand("rows", self.pointers(view, view.free, rows, fixed), 0, fixed)
            if free is not None and not view.free_masks:
                fixed = tuple(int(x) for x in free[:rows])
                if self.zeros_fit(fixed, a.type.elem):
                    return Operand("columns", self.pointers(view, view.red, K, fixed), 0, fixed)
        b = self.materialise(a)
        return Operand("strided", Res(b.ptr, b.lvl), b.strides[0], tuple(k * b.strides[1] for k in range(K)))

    def zeros_fit(self, offsets: Sequence[int], elem: str) -> bool:
        return (max(offsets) - min(offsets) + 1) * size_of(elem) <= ZEROS_LIMIT

    def floor_of(self, view: View) -> int:
        return self.floors.get(view.load.results[0], 0)

    def pointer(self, view: View) -> Res:
        """Address of a view's first element."""
        p = self.eval(view.load.operands[0], (ZERO, ZERO))
        return Res(p.v, max(p.lvl, self.floor_of(view)))

    def pointers(self, view: View, axis: int, count: int, offsets: Sequence[int]) -> Res:
        """A table of addresses along one axis of a view; masked ones lead to zeros, whatever offset is added."""
        p = view.load.operands[0]
        elem = view.load.results[0].type.elem
        masks = view.free_masks if axis == view.free else view.red_masks
        lvl = max([self.available(x) for x in (p, *masks)] + [self.floor_of(view)])
        with self.at_level(lvl):
            table = self.alloca("ptr", p.type.shape[axis])
            zeros = self.zeros((max(offsets) - min(offsets) + 1 + self.lanes) * size_of(elem))
            nothing = self.offset(Res(zeros), elem, -min(offsets))
            size = p.type.shape[axis]
            vl = min(8, size)
            vl = 0 if vl == 1 else vl

            def body(i: Coord, _: list[str]) -> list[str]:
                at = [ZERO, ZERO]
                at[axis] = Coord(i.name, i.lvl, vl)
                there = (at[0], at[1])
                x = self.widen(self.eval(p, there), "ptr", vl)
                for mask in masks:
                    m = self.eval(mask, there if mask.type.shape else ())
                    if m.v != "1":
                        t = llvm_type("ptr", vl)
                        no = self.widen(Res(nothing.v, nothing.lvl), "ptr", vl)
                        x = self.let(self.depth, f"select {llvm_type('i1', m.vl)} {m.v}, {t} {x}, {t} {no}")
                to = self.element(Res(table), "ptr", (Coord(i.name, i.lvl),), (1,))
                self.emit(f"store {llvm_type('ptr', vl)} {x}, ptr {to.v}, align 8")
                return []

            self.loop(0, -(-count // max(vl, 1)) * max(vl, 1), max(vl, 1), body)
        return Res(table, lvl)

    def operand_b(
        self, b: Value, view: View | None, rows: int, K: int, columns: int, NR: int, mr: int
    ) -> tuple[Operand, int]:
        """B in place or packed, and the distance of its panels of NR columns."""
        if view is not None:
            p = view.load.operands[0]
            n = p.type.shape[view.free]
            flat = n == 1 or self.facts.stride(p, view.free, n) == 1
            if flat and not view.free_masks and view.free_size == n:
                red = self.offsets(p, view.red)
                span = int(red[:K].max() - red[:K].min() + columns) * size_of(b.type.elem) if red is not None else 0
                near = rows <= 2 * mr or (red is not None and span <= IN_CACHE)
                if red is not None and not view.red_masks and near:
                    return Operand("strided", self.pointer(view), 0, tuple(int(x) for x in red[:K])), NR
                if near and not (red is not None and not view.red_masks):
                    return Operand("columns", self.pointers(view, view.red, K, range(n)), 0, tuple(range(columns))), NR
        if b in self.buffers and self.buffers[b].strides[1] == (1 if b.type.shape[1] > 1 else 0):
            done = self.buffers[b]
            return Operand("strided", Res(done.ptr, done.lvl), 0, tuple(k * done.strides[0] for k in range(K))), NR
        return self.pack(b, K, columns, NR), K * NR

    def pack(self, b: Value, K: int, columns: int, NR: int) -> Operand:
        """B as panels of NR columns, each read front to back."""
        lvl = self.available(b)
        with self.at_level(lvl):
            buffer = Buffer(self.alloca(llvm_type(b.type.elem), K * columns), (K, columns), (NR, 1), b.type.elem, lvl)
            if self.vector_axis(b) == 0 and K % self.lanes == 0 and columns % self.lanes == 0 and self.lanes > 4:
                self.pack_transposed(b, buffer, K, columns, NR)
            else:
                self.pack_rows(b, buffer, K, columns, NR)
        return Operand("strided", Res(buffer.ptr, lvl), 0, tuple(k * NR for k in range(K)))

    def panel(self, buffer: Buffer, j: Coord, K: int) -> Buffer:
        at = self.element(Res(buffer.ptr, buffer.lvl), buffer.elem, (j,), (K,))
        return Buffer(at.v, buffer.shape, buffer.strides, buffer.elem, at.lvl)

    def pack_rows(self, b: Value, buffer: Buffer, K: int, columns: int, NR: int) -> None:
        vl = min(self.lanes, NR)
        vl = 0 if vl == 1 else vl

        def row(k: Coord, _: list[str]) -> list[str]:
            def panel(j: Coord, _: list[str]) -> list[str]:
                to = self.panel(buffer, j, K)

                def vector(n: Coord, _: list[str]) -> list[str]:
                    at = self.plus(Coord(j.name, j.lvl, vl), Coord(n.name, n.lvl))
                    self.write(to, (k, Coord(n.name, n.lvl, vl)), self.eval(b, (k, at)))
                    return []

                self.loop(0, NR, max(vl, 1), vector)
                return []

            self.loop(0, columns, NR, panel)
            return []

        self.loop(0, K, 1, row)

    def pack_transposed(self, b: Value, buffer: Buffer, K: int, columns: int, NR: int) -> None:
        """B lies with k contiguous: square blocks are turned in registers."""
        vl = self.lanes

        def block(j: Coord, _: list[str]) -> list[str]:
            panel_of = self.let(j.lvl, f"sdiv i32 {j.name}, {NR}") if j.number is None else str(j.number // NR)
            start = self.times(Coord(panel_of, j.lvl), NR)
            inside = self.let(j.lvl, f"sub i32 {j.name}, {start.name}")
            to = self.panel(buffer, start, K)

            def turn(k: Coord, _: list[str]) -> list[str]:
                wide = Coord(k.name, k.lvl, vl)
                rows = []
                for x in range(vl):
                    r = self.eval(b, (wide, self.plus(j, x)))
                    rows.append(self.widen(r, b.type.elem, vl))
                for x, column in enumerate(self.turned(rows, b.type.elem)):
                    at = (self.plus(k, x), Coord(inside, j.lvl, vl))
                    self.write(to, at, Res(column, self.depth, vl))
                return []

            self.loop(0, K, vl, turn)
            return []

        self.loop(0, columns, vl, block)

    def turned(self, rows: list[str], elem: str) -> list[str]:
        """A square of vectors transposed, by exchanging ever smaller blocks."""
        vl, t = len(rows), llvm_type(elem, len(rows))
        half = vl // 2
        while half:
            out = list(rows)
            for i in range(vl):
                if i & half:
                    continue
                low = [k if not k & half else vl + k - half for k in range(vl)]
                high = [k + half if not k & half else vl + k for k in range(vl)]
                for at, picks in ((i, low), (i + half, high)):
                    mask = ", ".join(f"i32 {k}" for k in picks)
                    text = f"shufflevector {t} {rows[i]}, {t} {rows[i + half]}, <{vl} x i32> <{mask}>"
                    out[at] = self.let(self.depth, text)
            rows, half = out, half // 2
        return rows

    # ---- tiles -------------------------------------------------------------------------------------------------
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
              mr: int, nv: int, vl: int) -> None:  # fmt: skip
        main = rows // mr * mr

        def column(j: Coord, _: list[str]) -> list[str]:
            b = self.element(B.base, C.elem, (j,), (panel // (nv * vl),))

            def tile(height: int) -> Callable[[Coord, list[str]], Sequence[str]]:
                def body(i: Coord, _: list[str]) -> list[str]:
                    self.tile(A, B, b, C, c, i, j, K, height, nv, vl)
                    return []

                return body

            self.loop(0, main, mr, tile(mr))
            if main < rows:
                self.loop(main, rows, rows - main, tile(rows - main))
            return []

        self.loop(0, columns, nv * vl, column)

    def tile(self, A: Operand, B: Operand, b: Res, C: Buffer, c: Value, i: Coord, j: Coord, K: int, mr: int, nv: int,
             vl: int) -> None:  # fmt: skip
        """C[i : i + mr, j : j + nv * vl] += A B, the sums in registers."""
        elem = C.elem
        lanes = vl if vl > 1 else 0
        t = llvm_type(elem, lanes)
        where = [
            (self.plus(i, x), self.plus(Coord(j.name, j.lvl, lanes), y * vl)) for x in range(mr) for y in range(nv)
        ]
        start = [(t, self.widen(self.eval(c, at), elem, lanes)) for at in where]
        sums = [text for _, text in start]
        types = [llvm_type(elem, lanes)] * len(start)
        for lo, hi, unroll in turns([x.offsets for x in (A, B) if x.kind != "columns"], K, mr * nv):

            def body(k: Coord, sums: list[str], unroll: int = unroll, hi: int = hi) -> list[str]:
                row_b = self.rows_b(B, b, elem, j, k, hi, unroll)
                at_a = self.elements_a(A, elem, i, mr, k, hi, unroll)
                sums = list(sums)
                for u in range(unroll):
                    sums = self.outer_product(sums, row_b(u), [at_a(x, u) for x in range(mr)], nv, elem, lanes)
                return sums

            sums = self.loop(lo, hi, unroll, body, list(zip(types, sums, strict=True)))
        for at, total in zip(where, sums, strict=True):
            self.write(C, at, Res(total, self.depth, lanes))

    def outer_product(self, sums: list[str], row: Res, column: list[Res], nv: int, elem: str, lanes: int) -> list[str]:
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
                out[x * nv + y] = self.multiply_add(t, elem, a, vectors[y], sums[x * nv + y])
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
            key = ("row", A.base.v, i.name, x)
            if key not in self.memo:
                slot = self.element(A.base, "ptr", (self.plus(i, x),), (1,))
                self.memo[key] = Res(self.let(slot.lvl, f"load ptr, ptr {slot.v}, align 8"), slot.lvl)
            chunk.append(self.moved(self.memo[key], elem, A.offsets, k, hi, unroll))
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
