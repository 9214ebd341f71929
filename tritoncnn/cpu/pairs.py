"""Products of bf16 by avx512-bf16: one instruction multiplies 16 pairs and adds both products to 16 sums of f32.

Two neighbours along the reduction make one 32-bit word: rows of A hold such words as they are, B is packed with two rows
interleaved. A word has the size of an f32, so dot.py's tiles move it as one. The instruction takes subnormal bf16 as zero
(Intel SDM, VDPBF16PS); otherwise the error is that of a sum in f32.
"""

from __future__ import annotations

from .elements import llvm_type
from .emit import Buffer, Coord, Res
from .operands import Operand, Operands, View
from .ttir import Op, Value

PAIR_LANES = 16


class Pairs(Operands):
    """Operands of bf16 products in pairs."""

    has_pairs = False  # does the CPU have the instruction?

    def in_pairs(self, op: Op) -> bool:
        return not self.pairs_refused(op)

    def pairs_refused(self, op: Op) -> str:
        """Why a product does not go in pairs; "" when it does."""
        a, b = op.operands[:2]
        if not a.type.elem == b.type.elem == "bf16" or op.results[0].type.elem != "f32":
            return "pairs are for bf16 into f32"
        if not self.has_pairs or self.lanes != PAIR_LANES:
            return "the CPU has no avx512-bf16"
        if a.type.shape[1] % 2 or b.type.shape[1] % PAIR_LANES:
            return f"pairs need an even depth and a multiple of {PAIR_LANES} columns"
        return "" if self.vector_axis(b) == 1 else "B is not contiguous along its columns"

    def pairs_a(self, a: Value, view: View | None, rows: int, K: int, cut: bool) -> Operand:
        """A read as words: in place, or row-major in scratch. ``cut``: the last word's second half may lie past the end."""
        if view is not None and not cut and not view.red_masks and (words := self.words(view, K)) is not None:
            p = view.load.operands[0]
            step = self.facts.stride(p, view.free, p.type.shape[view.free])
            if step is not None and step % 2 == 0 and not view.free_masks:
                self.read_in_place(a, view, f"its rows lie {step} elements apart and hold pairs")
                return Operand("strided", self.pointer(view), step // 2, words)
            fixed = [2 * w + half for w in words for half in range(2)]
            if self.zeros_fit(fixed, a.type.elem):
                self.read_in_place(a, view, "its rows hold pairs and are reached through a table of addresses")
                zeros = self.nothing(fixed, a.type.elem) if view.free_masks else None
                return Operand("rows", self.pointers(view, view.free, rows, fixed), 0, words, zeros)
        self.notes.reasons[a] = "copied row by row: a pair is one word"
        with self.at_level(self.available(a)):
            buffer = self.new_buffer(a, 1)
            self.fill(buffer, a, 1)
        return Operand("strided", Res(buffer.ptr, buffer.lvl), buffer.strides[0] // 2, tuple(range(K // 2)))

    def words(self, view: View, K: int) -> tuple[int, ...] | None:
        """Offsets of the words along the reduction, if neighbours lie side by side in memory."""
        red = self.offsets(view.load.operands[0], view.red)
        if red is None:
            return None
        first, second = red[0:K:2], red[1:K:2]
        if (second != first + 1).any() or (first % 2).any():
            return None
        return tuple(int(x) // 2 for x in first)

    def pairs_b(self, b: Value, K: int, columns: int, NR: int) -> Operand:
        """B as panels of NR columns of words."""
        self.notes.reasons[b] = f"packed into panels of {NR} columns: two rows are interleaved"
        lvl = self.available(b)
        half = K // 2
        with self.at_level(lvl):
            buffer = Buffer(self.alloca("float", half * columns), (half, columns), (NR, 1), "f32", lvl)

            def row(k: Coord, _: list[str]) -> list[str]:
                first = self.times(k, 2)

                def panel(j: Coord, _: list[str]) -> list[str]:
                    to = self.panel(buffer, j, half)

                    def vector(n: Coord, _: list[str]) -> list[str]:
                        at = self.plus(Coord(j.name, j.lvl, PAIR_LANES), Coord(n.name, n.lvl))
                        word = self.interleaved(*(self.eval(b, (self.plus(first, x), at)) for x in range(2)))
                        self.write(to, (k, Coord(n.name, n.lvl, PAIR_LANES)), word)
                        return []

                    self.loop(0, NR, PAIR_LANES, vector)
                    return []

                self.loop(0, columns, NR, panel)
                return []

            self.loop(0, half, 1, row)
        return Operand("strided", Res(buffer.ptr, lvl), 0, tuple(k * NR for k in range(half)))

    def interleaved(self, low: Res, high: Res) -> Res:
        x, y = (self.widen(r, "bf16", PAIR_LANES) for r in (low, high))
        t = llvm_type("bf16", PAIR_LANES)
        picks = ", ".join(f"i32 {k}, i32 {k + PAIR_LANES}" for k in range(PAIR_LANES))
        both = self.let(self.depth, f"shufflevector {t} {x}, {t} {y}, <{2 * PAIR_LANES} x i32> <{picks}>")
        word = self.let(self.depth, f"bitcast <{2 * PAIR_LANES} x bfloat> {both} to <{PAIR_LANES} x float>")
        return Res(word, self.depth, PAIR_LANES)

    def multiply_add_pairs(self, _: str, elem: str, a: str, b: str, c: str) -> str:
        d, t = self.depth, f"<{PAIR_LANES} x float>"
        pairs = f"<{2 * PAIR_LANES} x bfloat>"
        x, y = (self.let(d, f"bitcast {t} {v} to {pairs}") for v in (a, b))
        name = "llvm.x86.avx512bf16.dpbf16ps.512"
        call = self.intrinsic(name, t, t, pairs, pairs)
        return self.let(d, f"{call}({t} {c}, {pairs} {x}, {pairs} {y})")
