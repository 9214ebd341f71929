"""The operands of tt.dot: read in place where their addresses allow, else computed into scratch or packed.

An operand is read where it lies if its addresses are ``pointer(one axis) + fixed offset(other axis)``: rows of pixels with
a window's offsets, or the transpose of that. Rows that are masked off read zeros through their pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tritoncnn.cpu.emit.control import Control
from tritoncnn.cpu.emit.values import ZERO, Buffer, Coord, Res
from tritoncnn.cpu.front.elements import llvm_type, size_of
from tritoncnn.cpu.front.ttir import Op, Value

ZEROS_LIMIT = 1 << 18  # bytes of zeros that masked rows may be pointed at
IN_CACHE = 1 << 14  # bytes of B that may be read in place by many tiles


@dataclass(frozen=True)
class Operand:
    """How to reach element (free, red) of A, or row red of B.

    kind   "strided": base + free * step + offsets[red]; "rows": table[free] + offsets[red]; "columns": table[red] + offsets[free]
    base   address of element 0, or of the table of pointers
    zeros  what a masked row's pointer is, if rows may be masked
    lower  what the sums of each of B's columns begin lower by, if not 0
    """

    kind: str
    base: Res
    step: int
    offsets: tuple[int, ...]
    zeros: Res | None = None
    lower: Buffer | None = None


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


class Operands(Control):
    """How the two factors of a product are reached."""

    def view(self, v: Value, free: int, red: int) -> View | None:
        """See through to a load whose mask is made of parts that follow one axis each."""
        asked = v
        self.remarks.reasons.pop(asked, None)
        while v not in self.buffers and v.op is not None and v.op.name == "tt.trans":
            free, red, v = red, free, v.op.operands[0]
        load = v.op
        if v in self.buffers or load is None or load.name != "tt.load" or not v.type.shape:
            made = "in a buffer" if v in self.buffers or load is None else f"the result of {load.name}"
            self.remarks.reasons[asked] = f"it is {made}, not a load"
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
                    self.remarks.reasons[asked] = "its mask follows both axes at once"
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
        if masked and other is not None and not self.is_zero(other):
            self.remarks.reasons[asked] = "what its mask leaves out is not 0"
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
                    self.read_in_place(a, view, f"its rows lie {step} elements apart")
                    return Operand("strided", self.pointer(view), step, fixed)
                if self.zeros_fit(fixed, a.type.elem):
                    self.read_in_place(a, view, "its rows are reached through a table of addresses")
                    table = self.pointers(view, view.free, rows, fixed)
                    zeros = self.nothing(fixed, a.type.elem) if view.free_masks else None
                    return Operand("rows", table, 0, fixed, zeros)
            if free is not None and not view.free_masks:
                fixed = tuple(int(x) for x in free[:rows])
                if self.zeros_fit(fixed, a.type.elem):
                    self.read_in_place(a, view, "its columns are reached through a table of addresses")
                    return Operand("columns", self.pointers(view, view.red, K, fixed), 0, fixed)
        why = self.remarks.reasons.get(a, "neither its rows nor its columns lie at fixed offsets from each other")
        self.remarks.reasons[a] = f"from scratch: {why}"
        b = self.materialise(a)
        return Operand("strided", Res(b.ptr, b.lvl), b.strides[0], tuple(k * b.strides[1] for k in range(K)))

    def read_in_place(self, v: Value, view: View, why: str) -> None:
        """For ``explain``."""
        self.remarks.reasons[v] = f"in place: {why}"
        self.remarks.in_place(view.load, why)

    def zeros_fit(self, offsets: Sequence[int], elem: str) -> bool:
        return (max(offsets) - min(offsets) + 1) * size_of(elem) <= ZEROS_LIMIT

    def floor_of(self, view: View) -> int:
        return self.floors.get(view.load.results[0], 0)

    def pointer(self, view: View) -> Res:
        """Address of a view's first element."""
        p = self.eval(view.load.operands[0], (ZERO, ZERO))
        return Res(p.v, max(p.lvl, self.floor_of(view)))

    def nothing(self, offsets: Sequence[int], elem: str) -> Res:
        """Where a masked row points: zeros at all of the offsets."""
        zeros = self.zeros((max(offsets) - min(offsets) + 1 + self.lanes) * size_of(elem))
        return self.offset(Res(zeros), elem, -min(offsets))

    def pointers(self, view: View, axis: int, count: int, offsets: Sequence[int]) -> Res:
        """A table of addresses along one axis of a view; masked ones lead to zeros, whatever offset is added."""
        p = view.load.operands[0]
        elem = view.load.results[0].type.elem
        masks = view.free_masks if axis == view.free else view.red_masks
        lvl = max([self.available(x) for x in (p, *masks)] + [self.floor_of(view)])
        with self.at_level(lvl):
            table = self.alloca("ptr", p.type.shape[axis])
            nothing = self.nothing(offsets, elem)
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
        why = self.remarks.reasons.get(b, "")
        if view is not None:
            p = view.load.operands[0]
            n = p.type.shape[view.free]
            flat = n == 1 or self.facts.stride(p, view.free, n) == 1
            why = "its rows are masked" if flat else "its rows are not contiguous"
            if flat and not view.free_masks and view.free_size == n:
                red = self.offsets(p, view.red)
                span = int(red[:K].max() - red[:K].min() + columns) * size_of(b.type.elem) if red is not None else 0
                near = rows <= 2 * mr or (red is not None and span <= IN_CACHE)
                why = f"{-(-rows // mr)} tiles read it, and its rows span more than {IN_CACHE} bytes"
                if red is not None and not view.red_masks and near:
                    self.read_in_place(b, view, "its rows are contiguous and lie at fixed offsets")
                    return Operand("strided", self.pointer(view), 0, tuple(int(x) for x in red[:K])), NR
                if near and not (red is not None and not view.red_masks):
                    self.read_in_place(b, view, "its rows are reached through a table of addresses")
                    return Operand("columns", self.pointers(view, view.red, K, range(n)), 0, tuple(range(columns))), NR
        if b in self.buffers and self.buffers[b].strides[1] == (1 if b.type.shape[1] > 1 else 0):
            done = self.buffers[b]
            self.remarks.reasons[b] = "from scratch: it is computed already"
            return Operand("strided", Res(done.ptr, done.lvl), 0, tuple(k * done.strides[0] for k in range(K))), NR
        self.remarks.reasons[b] = f"packed into panels of {NR} columns: {why}"
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
        self.panels(buffer, K, columns, NR, 0 if vl == 1 else vl, lambda k, at: self.eval(b, (k, at)))

    def panels(self, buffer: Buffer, depth: int, columns: int, NR: int, vl: int,
               element: Callable[[Coord, Coord], Res]) -> None:  # fmt: skip
        """Fill panels of NR columns with vectors of ``element(row, columns)``."""

        def row(k: Coord, _: list[str]) -> list[str]:
            def panel(j: Coord, _: list[str]) -> list[str]:
                to = self.panel(buffer, j, depth)

                def vector(n: Coord, _: list[str]) -> list[str]:
                    at = self.plus(Coord(j.name, j.lvl, vl), Coord(n.name, n.lvl))
                    self.write(to, (k, Coord(n.name, n.lvl, vl)), element(k, at))
                    return []

                self.loop(0, NR, max(vl, 1), vector)
                return []

            self.loop(0, columns, NR, panel)
            return []

        self.loop(0, depth, 1, row)

    def pack_transposed(self, b: Value, buffer: Buffer, K: int, columns: int, NR: int) -> None:
        """B lies with k contiguous: square blocks are transposed in registers."""
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
                for x, column in enumerate(self.transposed(rows, b.type.elem)):
                    at = (self.plus(k, x), Coord(inside, j.lvl, vl))
                    self.write(to, at, Res(column, self.depth, vl))
                return []

            self.loop(0, K, vl, turn)
            return []

        self.loop(0, columns, vl, block)
