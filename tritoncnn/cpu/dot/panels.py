"""B packed into panels: blocks of NR columns, each read front to back."""

from __future__ import annotations

from collections.abc import Callable

from tritoncnn.cpu.emit.buffers import vector_axis
from tritoncnn.cpu.emit.pull import available, pull
from tritoncnn.cpu.emit.scratch import write
from tritoncnn.cpu.emit.state import State
from tritoncnn.cpu.emit.transpose import transposed
from tritoncnn.cpu.emit.values import ZERO, Buffer, Coord, Res
from tritoncnn.cpu.front.elements import llvm_type
from tritoncnn.cpu.front.ttir import Value

from .prefetch import AHEAD, fetch_ahead
from .views import Operand, View


def pack(code: State, b: Value, K: int, columns: int, NR: int, far: View | None) -> Operand:
    """B as panels of NR columns, each read front to back. ``far``: the load that B is, where its rows lie far apart."""
    lvl = available(code, b)
    with code.at_level(lvl):
        buffer = Buffer(code.alloca(llvm_type(b.type.elem), K * columns), (K, columns), (NR, 1), b.type.elem, lvl)
        if vector_axis(code, b) == 0 and K % code.lanes == 0 and columns % code.lanes == 0 and code.lanes > 4:
            _pack_transposed(code, b, buffer, K, columns, NR)
        else:
            _pack_rows(code, b, buffer, K, columns, NR, far)
    return Operand("strided", Res(buffer.ptr, lvl), 0, tuple(k * NR for k in range(K)))


def panel_at(code: State, buffer: Buffer, j: Coord, K: int) -> Buffer:
    at = code.element(Res(buffer.ptr, buffer.lvl), buffer.elem, (j,), (K,))
    return Buffer(at.v, buffer.shape, buffer.strides, buffer.elem, at.lvl)


def _pack_rows(code: State, b: Value, buffer: Buffer, K: int, columns: int, NR: int, far: View | None) -> None:
    vl = min(code.lanes, NR)
    ahead = (
        None if far is None else lambda k: _fetch_row(code, far, _at_most(code, code.plus(k, AHEAD), K - 1), columns)
    )
    fill_panels(code, buffer, K, columns, NR, 0 if vl == 1 else vl, lambda k, at: pull(code, b, (k, at)), ahead)


def _at_most(code: State, k: Coord, last: int) -> Coord:
    """Row k, or the last one: what a row's address is computed from may lie in tables that have no more rows."""
    if k.number is not None:
        return Coord(str(min(k.number, last)))
    least = code.intrinsic("llvm.smin.i32", "i32", "i32", "i32")
    return Coord(code.let(k.lvl, f"{least}(i32 {k.name}, i32 {last})"), k.lvl)


def _fetch_row(code: State, view: View, k: Coord, columns: int) -> None:
    p = view.load.operands[0]
    at = (ZERO, k) if view.free == 0 else (k, ZERO)
    fetch_ahead(code, pull(code, p, at), view.load.results[0].type.elem, columns)


def fill_panels(code: State, buffer: Buffer, depth: int, columns: int, NR: int, vl: int,
                element: Callable[[Coord, Coord], Res], ahead: Callable[[Coord], None] | None = None) -> None:  # fmt: skip
    """Fill panels of NR columns with vectors of ``element(row, columns)``; ``ahead(row)`` is called before each row."""

    def row(k: Coord, _: list[str]) -> list[str]:
        if ahead is not None:
            ahead(k)

        def panel(j: Coord, _: list[str]) -> list[str]:
            to = panel_at(code, buffer, j, depth)

            def vector(n: Coord, _: list[str]) -> list[str]:
                at = code.plus(Coord(j.name, j.lvl, vl), Coord(n.name, n.lvl))
                write(code, to, (k, Coord(n.name, n.lvl, vl)), element(k, at))
                return []

            code.loop(0, NR, max(vl, 1), vector)
            return []

        code.loop(0, columns, NR, panel)
        return []

    code.loop(0, depth, 1, row)


def _pack_transposed(code: State, b: Value, buffer: Buffer, K: int, columns: int, NR: int) -> None:
    """B lies with k contiguous: square blocks are transposed in registers."""
    vl = code.lanes

    def block(j: Coord, _: list[str]) -> list[str]:
        panel_of = code.let(j.lvl, f"sdiv i32 {j.name}, {NR}") if j.number is None else str(j.number // NR)
        start = code.times(Coord(panel_of, j.lvl), NR)
        inside = code.let(j.lvl, f"sub i32 {j.name}, {start.name}")
        to = panel_at(code, buffer, start, K)

        def turn(k: Coord, _: list[str]) -> list[str]:
            wide = Coord(k.name, k.lvl, vl)
            rows = []
            for x in range(vl):
                r = pull(code, b, (wide, code.plus(j, x)))
                rows.append(code.widen(r, b.type.elem, vl))
            for x, column in enumerate(transposed(code, rows, b.type.elem)):
                at = (code.plus(k, x), Coord(inside, j.lvl, vl))
                write(code, to, at, Res(column, code.depth, vl))
            return []

        code.loop(0, K, vl, turn)
        return []

    code.loop(0, columns, vl, block)
