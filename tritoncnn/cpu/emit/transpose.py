"""Squares of a tensor transposed in registers: read along one axis, where memory is contiguous, wanted along another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tritoncnn.cpu.front.elements import llvm_type
from tritoncnn.cpu.front.ttir import Value

from .buffers import contiguous_axes
from .pull import pull
from .state import State
from .values import Coord, Coords


def read_axis(code: State, x: Value, vaxis: int) -> int | None:
    """The axis that most of x is contiguous along in memory, if that is another than ``vaxis``."""
    votes = contiguous_axes(code, x)
    axis = max(votes, key=lambda d: (votes[d], d == vaxis), default=vaxis)
    return axis if axis != vaxis and x.type.shape[axis] > 1 else None


def squares(code: State, x: Value, axis: int, vaxis: int, put: Callable[[Coords, str], None]) -> None:
    """All of x, read as vectors along ``axis``; ``put`` gets vectors along ``vaxis``."""
    vl = min(code.lanes, x.type.shape[axis], x.type.shape[vaxis])
    shape = [n // vl if d in (axis, vaxis) else n for d, n in enumerate(x.type.shape)]

    def square(at: Coords) -> None:
        i, j = code.times(at[axis], vl), code.times(at[vaxis], vl)

        def there(along: Coord, across: Coord) -> Coords:
            return tuple(along if d == axis else across if d == vaxis else c for d, c in enumerate(at))

        rows = [pull(code, x, there(replace(i, vl=vl), code.plus(j, n))) for n in range(vl)]
        columns = transposed(code, [code.widen(r, x.type.elem, vl) for r in rows], x.type.elem)
        for n, column in enumerate(columns):
            put(there(code.plus(i, n), replace(j, vl=vl)), column)

    code.nest(shape, axis, square, width=1)  # along memory: each row of squares reads a few streams


def transposed(code: State, rows: list[str], elem: str) -> list[str]:
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
                out[at] = code.let(code.depth, text)
        rows, half = out, half // 2
    return rows
