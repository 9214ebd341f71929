"""Blocks of elementwise ops inside of other ops: combiners of reductions and scans, ``tl.map_elementwise``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tritoncnn.cpu.facts.fold import constant_elements
from tritoncnn.cpu.front.blocks import edges, in_order
from tritoncnn.cpu.front.elements import literal, llvm_type, stored
from tritoncnn.cpu.front.ttir import Block, Op, Value, unsupported

from .arith import apply
from .pull import pull
from .scratch import read
from .state import State
from .values import ZERO, Buffer, Coord, Coords, Res


def constant(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """A number, or a read of a table in the module where elements differ."""
    elem = v.type.elem
    xs = [literal(text, elem) for text in constant_elements(op)]
    if len(xs) == 1:
        return Res(xs[0], 0)
    shape = v.type.shape
    steps = tuple(math.prod(shape[d + 1 :]) if n > 1 else 0 for d, n in enumerate(shape))
    return read(code, Buffer(code.table(llvm_type(stored(elem)), xs), shape, steps, elem, 0), coords)


def small_reduce(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """A reduction along a short axis, written out."""
    axis = op.number("axis")
    rows = [
        [pull(code, x, (*coords[:axis], Coord(str(k)), *coords[axis:])) for x in op.operands]
        for k in range(op.operands[0].type.shape[axis])
    ]
    while len(rows) > 1:  # in pairs: shorter chains
        pairs = [combine(code, op, a, b) for a, b in zip(rows[::2], rows[1::2], strict=False)]
        rows = pairs + ([rows[-1]] if len(rows) % 2 else [])
    for result, r in zip(op.results, rows[0], strict=True):
        shape = result.type.shape
        code.memo[result, tuple(c if n > 1 else ZERO for c, n in zip(coords, shape, strict=True))] = r
    return rows[0][op.results.index(v)]


def combine(code: State, op: Op, a: Sequence[Res], b: Sequence[Res]) -> list[Res]:
    """The combiner region of a reduce or scan on elements (or vectors)."""
    blocks = op.regions[0]
    return region_of(code, op, blocks, dict(zip(blocks[0].args, [*a, *b], strict=True)))


def map_elements(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """``tl.map_elementwise``: a region of any number of operands and results, an element at a time."""
    args = [pull(code, x, coords if x.type.shape else ()) for x in op.operands]
    blocks = op.regions[0]
    found = region_of(code, op, blocks, dict(zip(blocks[0].args, args, strict=True)))
    for result, r in zip(op.results, found, strict=True):
        code.memo[result, coords] = r
    return code.memo[v, coords]


def region_of(code: State, op: Op, blocks: Sequence[Block], known: dict[Value, Res]) -> list[Res]:
    """What a region yields. Each block is computed for all lanes; where paths meet, each lane's own is selected."""
    entering: dict[str, list[tuple[Res, list[Res]]]] = {block.label: [] for block in blocks}
    done: set[str] = set()
    for block in in_order(blocks):
        done.add(block.label)
        reached = Res("1")
        for n, (way, given) in enumerate(entering[block.label]):
            reached = logic(code, "or", reached, way) if n else way
            for a, x in zip(block.args, given, strict=True):
                known[a] = _choose(code, way, x, known[a], a.type.elem) if n else x
        found = straight(code, op, block, known)
        if not edges(block):
            return found
        ways = [reached]
        if len(edges(block)) > 1:
            test = found[0]
            ways = [logic(code, "and", reached, w) for w in (test, logic(code, "xor", test, Res("1")))]
        for way, (label, values) in zip(ways, edges(block), strict=True):
            if label in done:
                raise unsupported(op, "branches backwards are not supported inside of its function")
            entering[label].append((way, [known[x] if x in known else pull(code, x) for x in values]))
    raise unsupported(op, "its function must return")


def straight(code: State, op: Op, block: Block, known: dict[Value, Res]) -> list[Res]:
    """Compute a block of elementwise ops; what its terminator takes comes back."""
    for inner in block.ops[:-1]:
        row = code.row(inner)
        if row.branches:
            known.update(zip(inner.results, _selected(code, op, inner, known), strict=True))
        elif row.literal and row.pull is not None:
            known[inner.results[0]] = row.pull(code, inner, inner.results[0], ())
        elif row.elementwise:
            args = [known[x] if x in known else pull(code, x) for x in inner.operands]
            known[inner.results[0]] = apply(code, inner, args)
        else:
            raise unsupported(inner, f"only arithmetic and branches are supported inside of {op.name}")
    return [known[x] if x in known else pull(code, x) for x in block.ops[-1].operands]


def _selected(code: State, op: Op, branch: Op, known: dict[Value, Res]) -> list[Res]:
    """The results of an ``scf.if`` without side effects; its condition may differ from lane to lane."""
    if len(branch.regions) != 2 or any(len(region) != 1 for region in branch.regions):
        raise unsupported(branch, f"a branch inside of {op.name} must have two sides that yield values")
    x = branch.operands[0]
    test = known[x] if x in known else pull(code, x)
    sides = [straight(code, op, region[0], dict(known)) for region in branch.regions]
    return [_choose(code, test, yes, no, r.type.elem) for r, yes, no in zip(branch.results, *sides, strict=True)]


def _choose(code: State, test: Res, yes: Res, no: Res, elem: str) -> Res:
    """``yes`` where the test holds, else ``no``."""
    lvl, vl = max(test.lvl, yes.lvl, no.lvl), max(test.vl, yes.vl, no.vl)
    t = llvm_type(elem, vl)
    pick = f"select {llvm_type('i1', test.vl)} {test.v}, {t} {code.widen(yes, elem, vl)}"
    return Res(code.let(lvl, f"{pick}, {t} {code.widen(no, elem, vl)}"), lvl, vl)


def logic(code: State, how: str, a: Res, b: Res) -> Res:
    """``and``, ``or`` or ``xor`` of two tests."""
    if how == "and" and "1" in (a.v, b.v):
        return b if a.v == "1" else a
    lvl, vl = max(a.lvl, b.lvl), max(a.vl, b.vl)
    return Res(
        code.let(lvl, f"{how} {llvm_type('i1', vl)} {code.widen(a, 'i1', vl)}, {code.widen(b, 'i1', vl)}"), lvl, vl
    )


def weight(code: State, op: Op) -> int:
    """Plain instructions for one vector of a map of elements."""
    return len(op.regions[0][0].ops)
