"""Rows of a block that no mask cuts: where the masks of all of a row's loads hold, one test takes the place of theirs.

A window's taps have a mask each, which is false at the edges of a picture alone. Each costs a test and a choice of address
for one multiplication, and most of them are the same in all lanes: bytes in scratch memory, one a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tritoncnn.cpu.front import axes as axes_of
from tritoncnn.cpu.front.ttir import Op, Value

from .order import loads_under
from .pull import pull
from .regions import logic
from .scratch import read, write
from .state import State
from .values import ZERO, Buffer, Coords, Res

LEAST = 3  # masks: for fewer, two bodies are not worth it


@dataclass(frozen=True)
class Rows:
    """Masks along an axis that has no lanes, where all of them hold, and the loads that have masks."""

    axis: int
    masks: tuple[Value, ...]
    whole: Buffer
    loads: tuple[Op, ...]


def find_rows(code: State, values: Sequence[Value], vaxis: int | None) -> Rows | None:
    """The masks of rows below values of one shape, joined into scratch here. None where there are too few."""
    found: dict[int, dict[Value, None]] = {}
    seen: set[tuple[Value, tuple[int | None, ...]]] = set()

    def walk(x: Value, axes: tuple[int | None, ...]) -> None:
        """axes[d]: which axis of the values the axis d of x is."""
        if x in code.scalars or not x.type.shape or (x, axes) in seen:
            return
        seen.add((x, axes))
        lies = [at for at, n in zip(axes, x.type.shape, strict=True) if n > 1]
        if x.type.elem == "i1" and len(lies) == 1 and lies[0] not in (None, vaxis):
            if code.facts.const(x) is None:
                found.setdefault(lies[0] or 0, {})[x] = None
            return
        if x in code.buffers or x.op is None:
            return
        axis_of = axes_of.same if code.row(x.op).access == "load" else code.row(x.op).axis
        if axis_of is None:
            return
        inner = {axis_of(x.op, d): at for d, at in enumerate(axes)}
        for y in x.op.operands:
            walk(y, tuple(inner.get(d) for d in range(len(y.type.shape))))

    for x in values:
        walk(x, tuple(range(len(x.type.shape))))
    axis, masks = max(found.items(), key=lambda item: len(item[1]), default=(0, {}))
    if code.guard is not None or len(masks) < LEAST:
        return None
    loads = {load: None for x in values for load in loads_under(code, x, set()) if len(load.operands) > 1}
    return Rows(axis, tuple(masks), _joined(code, tuple(masks)), tuple(loads))


def _joined(code: State, masks: Sequence[Value]) -> Buffer:
    """Where all of them hold."""
    size = max(masks[0].type.shape)
    whole = Buffer(code.alloca("i8", size), (size,), (1,), "i1", code.depth)

    def join(coords: Coords) -> None:
        joined = Res("1")
        for mask in masks:
            m = pull(code, mask, tuple(coords[0] if n > 1 else ZERO for n in mask.type.shape))
            joined = logic(code, "and", joined, m)
        write(code, whole, coords, joined)

    code.nest((size,), 0, join)
    return whole


def by_rows(code: State, rows: Rows | None, coords: Coords, body: Callable[[Coords], Sequence[str] | None],
            types: Sequence[str] = ()) -> Sequence[str]:  # fmt: skip
    """The body of a loop over rows, written twice: for a row that masks cut, and for one that they do not.

    What it yields, of these LLVM types, comes back.
    """
    if rows is None:
        return body(coords) or ()

    def inside() -> Coords:
        """What depends on the row is then known in the branch, not before it."""
        return tuple(replace(c, lvl=code.depth) if d == rows.axis else c for d, c in enumerate(coords))

    def masked() -> Sequence[str] | None:
        return body(inside())

    def unmasked() -> Sequence[str] | None:
        floors, memo, buffers = dict(code.floors), dict(code.memo), dict(code.buffers)
        for load in rows.loads:  # none may be read before the test
            code.floors[load.results[0]] = code.depth
        code.scalars.update((mask, Res("1", code.depth)) for mask in rows.masks)
        found = body(inside())
        for mask in rows.masks:
            del code.scalars[mask]
        code.floors, code.memo, code.buffers = floors, memo, buffers
        return found

    whole = read(code, rows.whole, (coords[rows.axis],))
    cut = code.let(whole.lvl, f"xor i1 {whole.v}, true")
    return code.either(cut, masked, unmasked, types)
