"""Products of bf16 by avx512-bf16: one instruction multiplies 16 pairs and adds both products to 16 sums of f32.

Two neighbours along the reduction make one 32-bit word: rows of A hold such words as they are, B is packed with two rows
interleaved. A word has the size of an f32, so dot.py's tiles move it as one. The instruction takes subnormal bf16 as zero
(Intel SDM, VDPBF16PS); otherwise the error is that of a sum in f32.
"""

from __future__ import annotations

from .elements import llvm_type
from .emit import Buffer, Coord, Res
from .operands import Operand, Operands
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

    def pairs_a(self, a: Value, K: int) -> Operand:
        """A row-major in scratch, read as words."""
        self.notes.reasons[a] = "copied row by row: a pair is one word"
        with self.at_level(self.available(a)):
            buffer = self.new_buffer(a, 1)
            self.fill(buffer, a, 1)
        return Operand("strided", Res(buffer.ptr, buffer.lvl), buffer.strides[0] // 2, tuple(range(K // 2)))

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
