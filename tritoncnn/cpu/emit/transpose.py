"""Squares of a tensor transposed in registers: read along one axis, where memory is contiguous, wanted along another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tritoncnn.cpu.front.elements import llvm_type
from tritoncnn.cpu.front.ttir import Value

from .memory import Memory
from .values import Coord, Coords


class Transpose(Memory):
    """Transpositions."""

    def read_axis(self, x: Value, vaxis: int) -> int | None:
        """The axis that most of x is contiguous along in memory, if that is another than ``vaxis``."""
        votes = self.contiguous_axes(x)
        axis = max(votes, key=lambda d: (votes[d], d == vaxis), default=vaxis)
        return axis if axis != vaxis and x.type.shape[axis] > 1 else None

    def squares(self, x: Value, axis: int, vaxis: int, put: Callable[[Coords, str], None]) -> None:
        """All of x, read as vectors along ``axis``; ``put`` gets vectors along ``vaxis``."""
        vl = min(self.lanes, x.type.shape[axis], x.type.shape[vaxis])
        shape = [n // vl if d in (axis, vaxis) else n for d, n in enumerate(x.type.shape)]

        def square(at: Coords) -> None:
            i, j = self.times(at[axis], vl), self.times(at[vaxis], vl)

            def there(along: Coord, across: Coord) -> Coords:
                return tuple(along if d == axis else across if d == vaxis else c for d, c in enumerate(at))

            rows = [self.eval(x, there(replace(i, vl=vl), self.plus(j, n))) for n in range(vl)]
            columns = self.transposed([self.widen(r, x.type.elem, vl) for r in rows], x.type.elem)
            for n, column in enumerate(columns):
                put(there(self.plus(i, n), replace(j, vl=vl)), column)

        self.nest(shape, axis, square, width=1)  # along memory: each row of squares reads a few streams

    def transposed(self, rows: list[str], elem: str) -> list[str]:
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
