"""Products of bf16 and of i8 by AMX: tiles of 16 rows by 16 words, which the CPU multiplies as a whole.

Four tiles of sums, two of A and two of B make the eight that there are. A tile of B is 16 rows of words as ``packed.py`` packs
them. Sums stand in scratch before and after; masked elements are zeros there too, so blocks are multiplied whole.

Source: Intel Architecture Instruction Set Extensions, chapter 3 (TDPBF16PS takes and gives subnormal numbers as zero).
"""

from __future__ import annotations

from tritoncnn.cpu.emit.state import State
from tritoncnn.cpu.emit.values import Buffer, Coord, Res
from tritoncnn.cpu.facts.remarks import Product
from tritoncnn.cpu.front.ttir import Op

from .packed import Word, words_a, words_b
from .panels import panel_at
from .views import View

SIDE = 16  # rows of a tile, and words in each
MULTIPLY = {"bf16": ("amx-bf16", "tdpbf16ps"), "i8": ("amx-int8", "tdpbssd")}
SUMS, LEFT, RIGHT = 0, 4, 6  # numbers of the first tile of each kind


CONFIG = [1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[SIDE] * 8, *[0] * 8]  # palette 1; bytes in a row; rows


def in_tiles(code: State, op: Op, word: Word) -> bool:
    (M, K), N = op.operands[0].type.shape, op.operands[1].type.shape[1]
    there = {"amx-tile", MULTIPLY[op.operands[0].type.elem][0]} <= set(code.features)
    return there and not M % SIDE and not N % SIDE and not K % (SIDE * word.each)


def product_in_tiles(code: State, op: Op, word: Word, C: Buffer, view: View | None) -> None:
    """C += A B, where C's rows lie in memory."""
    a, b = op.operands[:2]
    (M, K), N = a.type.shape, b.type.shape[1]
    if view is not None and (view.free_size, view.red_size, view.free_masks) != (M, K, ()):
        view = None  # what is masked is zero in scratch
    A = words_a(code, a, view, M, K, False, word, apart=True)
    high, wide = (2 if size % (2 * SIDE) == 0 else 1 for size in (M, N))
    B = words_b(code, b, K, N, wide * SIDE, word, signed=True)
    depth = K // word.each
    reasons = [code.remarks.reasons[x] for x in (a, b)]
    code.remarks.product(
        Product(op.where, (M, N, K), (high * SIDE, wide), SIDE, f"tiles of {a.type.elem} (AMX)", *reasons)
    )
    table = code.table("i8", CONFIG)
    code.emit(f"{code.intrinsic('llvm.x86.ldtilecfg', 'void', 'ptr')}(ptr {table})")

    def columns(j: Coord, _: list[str]) -> list[str]:
        panel = panel_at(code, Buffer(B.base.v, (depth, N), (wide * SIDE, 1), C.elem, B.base.lvl), j, depth)

        def rows(i: Coord, _: list[str]) -> list[str]:
            places = [(x, y) for x in range(high) for y in range(wide)]

            def sums(how: str) -> None:
                for x, y in places:
                    at = (code.plus(i, x * SIDE), code.plus(j, y * SIDE))
                    row = code.element(Res(C.ptr, C.lvl), C.elem, at, C.strides)
                    _move_tile(code, how, SUMS + 2 * x + y, row, C.strides[0])

            sums("tileloadd64")

            def step(k: Coord, _: list[str]) -> list[str]:
                for x in range(high):
                    row = code.element(A.base, C.elem, (code.plus(i, x * SIDE), k), (A.step, 1))
                    _move_tile(code, "tileloadd64", LEFT + x, row, A.step)
                for y in range(wide):
                    row = code.element(Res(panel.ptr, panel.lvl), C.elem, (k, Coord(str(y * SIDE))), panel.strides)
                    _move_tile(code, "tileloadd64", RIGHT + y, row, wide * SIDE)
                multiply = code.intrinsic(f"llvm.x86.{MULTIPLY[a.type.elem][1]}", "void", "i8", "i8", "i8")
                for x, y in places:
                    code.emit(f"{multiply}(i8 {SUMS + 2 * x + y}, i8 {LEFT + x}, i8 {RIGHT + y})")
                return []

            code.loop(0, depth, SIDE, step)
            sums("tilestored64")
            return []

        code.loop(0, M, high * SIDE, rows)
        return []

    code.loop(0, N, wide * SIDE, columns)
    code.emit(f"{code.intrinsic('llvm.x86.tilerelease', 'void')}()")


def _move_tile(code: State, how: str, tile: int, at: Res, step: int) -> None:
    """Load or store a tile whose rows lie ``step`` words apart."""
    code.emit(f"{code.intrinsic(f'llvm.x86.{how}', 'void', 'i8', 'ptr', 'i64')}(i8 {tile}, ptr {at.v}, i64 {4 * step})")
