"""tt.reduce, with any function and any number of operands."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tritoncnn.cpu.front.elements import llvm_type
from tritoncnn.cpu.front.ttir import Op

from .buffers import cuts_of, vector_axis
from .pull import pull
from .regions import combine
from .scratch import new_buffer, write
from .state import State
from .unmasked import Rows, by_rows, find_rows
from .values import ZERO, Buffer, Coord, Coords, Res

MOST_SUMS = 16  # partial results that are kept in registers
CHAINS = 4  # independent partial results: a sum waits for an addition's latency otherwise
BLOCKS = 8  # of an axis without lanes: rounding grows with the length of a block, not of the axis


class Group:
    """Reductions of one shape and axis that are done in one loop."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self.ops = ops
        self.axis = ops[0].number("axis")
        self.operands = [x for op in ops for x in op.operands]
        self.results = [r for op in ops for r in op.results]
        self.elems = [x.type.elem for x in self.operands]
        self.shape = self.operands[0].type.shape

    def types(self, vl: int) -> list[str]:
        return [llvm_type(elem, vl) for elem in self.elems]


def reduce(code: State, ops: Sequence[Op]) -> None:
    """Results go to scalars or buffers."""
    op = Group(ops)
    shape, axis = op.shape, op.axis
    others = [d for d in range(len(shape)) if d != axis and shape[d] > 1]
    votes = [vector_axis(code, x) for x in op.operands]
    lanes_on = votes[0] if votes[0] != axis else None
    if lanes_on is None and others and shape[axis] < code.lanes <= max(shape[d] for d in others):
        lanes_on = max(others, key=lambda d: (min(shape[d], code.lanes), d))
    if lanes_on is not None and lanes_on in others:
        _reduce_lanes_kept(code, op, axis, lanes_on)
    else:
        _reduce_lanes_merged(code, op, axis)


def _combined(code: State, group: Group, a: Sequence[Res], b: Sequence[Res]) -> list[Res]:
    """Each reduction's combiner on its own operands."""
    found, at = [], 0
    for op in group.ops:
        part = slice(at, at + len(op.operands))
        found += combine(code, op, a[part], b[part])
        at = part.stop
    return found


def _outputs(code: State, op: Group, vaxis: int | None) -> list[Buffer]:
    return [new_buffer(code, r, vaxis) for r in op.results] if op.results[0].type.shape else []


def _reduce_lanes_kept(code: State, op: Group, axis: int, vaxis: int) -> None:
    """Lanes run along another axis. The reduced one is cut into blocks, a chain of vectors each, which are combined in pairs."""
    size = op.shape[axis]
    out_axis = vaxis - (vaxis > axis)
    outputs = _outputs(code, op, out_axis)
    chains = BLOCKS if all(x in code.buffers for x in op.operands) else CHAINS  # what is computed is written for each
    while chains > 1 and (chains * len(op.operands) > MOST_SUMS or size < 4 * chains):
        chains //= 2

    rows = find_rows(code, op.operands, vaxis) if chains == 1 else None

    def one(coords: Coords) -> None:
        inner = (*coords[:axis], ZERO, *coords[axis:])
        ends = [size // chains]
        merged = _chains(code, op, inner, axis, inner[vaxis].vl, 0, chains, size // chains, 1, ends, rows)
        while len(merged) > 1:
            merged = [_combined(code, op, a, b) for a, b in zip(merged[::2], merged[1::2], strict=True)]
        for b, f in zip(outputs, merged[0], strict=True):
            write(code, b, coords, f)

    code.nest(op.results[0].type.shape, out_axis, one)
    code.buffers.update(zip(op.results, outputs, strict=True))


def _reduce_lanes_merged(code: State, op: Group, axis: int) -> None:
    """Lanes run along the reduced axis: partial results, merged at the end in halves."""
    size = op.shape[axis]
    vl = min(code.lanes, size)
    vl = 0 if vl == 1 else vl
    width = max(vl, 1)
    chains = CHAINS if size >= 2 * CHAINS * width and len(op.operands) * CHAINS <= MOST_SUMS else 1
    outputs = _outputs(code, op, None)
    step = chains * width
    ends = [e for e in sorted(set(cuts_of(code, op.operands, axis, step))) if step < e < size]

    def one(coords: Coords) -> None:
        inner = (*coords[:axis], ZERO, *coords[axis:])
        merged = _chains(code, op, inner, axis, vl, vl, chains, width, step, [*ends, size])
        for k in range(1, chains):
            merged[0] = _combined(code, op, merged[0], merged[k])
        final = _halves(code, op, merged[0], vl)
        for b, f in zip(outputs, final, strict=False):
            write(code, b, coords, f)
        if not outputs:
            code.scalars.update(zip(op.results, final, strict=True))

    code.nest(op.results[0].type.shape, None, one)
    code.buffers.update(zip(op.results, outputs, strict=False))


def _chains(code: State, op: Group, coords: Coords, axis: int, vl: int, along: int, chains: int, apart: int, step: int,
            ends: Sequence[int], rows: Rows | None = None) -> list[list[Res]]:  # fmt: skip
    """Several chains of vl lanes in one loop: chain k combines the elements k * apart + 0, step, 2 * step, ... < ends[-1].

    ``along`` of the lanes lie on the axis. The loop is cut at ``ends``, where masks begin or end.
    ``rows``: which elements no mask cuts, with a single chain.
    """
    elems, n = op.elems, len(op.operands)
    types = op.types(vl) * chains

    def vectors(at: Coord) -> list[Res]:
        return [pull(code, x, (*coords[:axis], at, *coords[axis + 1 :])) for x in op.operands]

    def body(c: Coord, args: list[str]) -> Sequence[str]:
        at = (*coords[:axis], c, *coords[axis + 1 :])
        return by_rows(code, rows, at, lambda at: added(at[axis], args), types)

    def added(c: Coord, args: list[str]) -> Sequence[str]:
        out: list[str] = []
        for k in range(chains):
            xs = vectors(code.plus(Coord(c.name, c.lvl, along), k * apart))
            known = [Res(a, code.depth, vl) for a in args[k * n : k * n + n]]
            wide = [Res(code.widen(x, e, vl), x.lvl, vl) for x, e in zip(xs, elems, strict=True)]
            out += [code.widen(m, e, vl) for m, e in zip(_combined(code, op, known, wide), elems, strict=True)]
        return out

    starts = [
        code.widen(x, e, vl)
        for k in range(chains)
        for x, e in zip(vectors(Coord(str(k * apart), 0, along)), elems, strict=True)
    ]
    found = starts
    for lo, hi in itertools.pairwise((step, *ends)):
        found = code.loop(lo, hi, step, body, list(zip(types, found, strict=True)))
    return [[Res(f, code.depth, vl) for f in found[k * n : k * n + n]] for k in range(chains)]


def _halves(code: State, op: Group, rs: list[Res], vl: int) -> list[Res]:
    """The lanes of vectors, combined."""
    if not vl:
        return rs
    elems = op.elems
    wide = [Res(code.widen(r, e, vl), r.lvl, vl) for r, e in zip(rs, elems, strict=True)]
    lanes = vl
    while lanes > 1:
        half = lanes // 2

        def part(r: Res, elem: str, start: int, lanes: int = lanes, half: int = half) -> Res:
            t = llvm_type(elem, lanes)
            picks = ", ".join(f"i32 {start + k}" for k in range(half))
            text = f"shufflevector {t} {r.v}, {t} poison, <{half} x i32> <{picks}>"
            return Res(code.let(code.depth, text), code.depth, half)

        low = [part(r, e, 0) for r, e in zip(wide, elems, strict=True)]
        high = [part(r, e, half) for r, e in zip(wide, elems, strict=True)]
        merged = _combined(code, op, low, high)
        wide = [Res(code.widen(m, e, half), m.lvl, half) for m, e in zip(merged, elems, strict=True)]
        lanes = half
    return [
        Res(code.let(code.depth, f"extractelement {llvm_type(e, 1)} {r.v}, i32 0"), code.depth)
        for r, e in zip(wide, elems, strict=True)
    ]


def weight(code: State, op: Op) -> int:
    """Plain instructions for one vector of a reduction that is written out."""
    return 2 * op.operands[0].type.shape[op.number("axis")]
