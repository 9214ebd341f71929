"""Blocks of elementwise ops inside of other ops: combiners of reductions and scans, ``tl.map_elementwise``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .analysis import constant_elements, is_elementwise
from .elements import literal, llvm_type, stored
from .emit import ZERO, Buffer, Coord, Coords, Res
from .loads import Loads
from .ttir import Block, Op, Value, unsupported


class Regions(Loads):
    """Writes what the ops of a block compute from given elements or vectors."""

    def constant(self, op: Op, v: Value, coords: Coords) -> Res:
        """A number, or a read of a table in the module where elements differ."""
        elem = v.type.elem
        xs = [literal(text, elem) for text in constant_elements(op)]
        if len(xs) == 1:
            return Res(xs[0], 0)
        shape = v.type.shape
        steps = tuple(math.prod(shape[d + 1 :]) if n > 1 else 0 for d, n in enumerate(shape))
        return self.read(Buffer(self.table(llvm_type(stored(elem)), xs), shape, steps, elem, 0), coords)

    def small_reduce(self, op: Op, v: Value, coords: Coords) -> Res:
        """A reduction along a short axis, written out."""
        axis = op.number("axis")
        rows = [
            [self.eval(x, (*coords[:axis], Coord(str(k)), *coords[axis:])) for x in op.operands]
            for k in range(op.operands[0].type.shape[axis])
        ]
        while len(rows) > 1:  # in pairs: shorter chains
            pairs = [self.combine(op, a, b) for a, b in zip(rows[::2], rows[1::2], strict=False)]
            rows = pairs + ([rows[-1]] if len(rows) % 2 else [])
        for result, r in zip(op.results, rows[0], strict=True):
            shape = result.type.shape
            self.memo[result, tuple(c if n > 1 else ZERO for c, n in zip(coords, shape, strict=True))] = r
        return rows[0][op.results.index(v)]

    def combine(self, op: Op, a: Sequence[Res], b: Sequence[Res]) -> list[Res]:
        """The combiner region of a reduce or scan on elements (or vectors)."""
        block = op.regions[0][0]
        return self.straight(op, block, dict(zip(block.args, [*a, *b], strict=True)))

    def map(self, op: Op, v: Value, coords: Coords) -> Res:
        """``tl.map_elementwise``: a region of any number of operands and results, an element at a time."""
        block = op.regions[0][0]
        if op.number("pack") != 1 or len(op.regions[0]) != 1:
            raise unsupported(op, "only pack=1 and functions that return once are supported")
        args = [self.eval(x, coords if x.type.shape else ()) for x in op.operands]
        for result, r in zip(
            op.results, self.straight(op, block, dict(zip(block.args, args, strict=True))), strict=True
        ):
            self.memo[result, coords] = r
        return self.memo[v, coords]

    def straight(self, op: Op, block: Block, known: dict[Value, Res]) -> list[Res]:
        """What a block of elementwise ops yields; both sides of a branch are computed, and one is selected."""
        for inner in block.ops[:-1]:
            if inner.name == "arith.constant":
                known[inner.results[0]] = self.constant(inner, inner.results[0], ())
            elif inner.name == "scf.if":
                known.update(zip(inner.results, self._selected(op, inner, known), strict=True))
            elif is_elementwise(inner.name):
                args = [known[x] if x in known else self.eval(x) for x in inner.operands]
                known[inner.results[0]] = self.apply(inner, args)
            else:
                raise unsupported(inner, f"only arithmetic and branches are supported inside of {op.name}")
        return [known[x] if x in known else self.eval(x) for x in block.ops[-1].operands]

    def _selected(self, op: Op, branch: Op, known: dict[Value, Res]) -> list[Res]:
        """The results of an ``scf.if`` without side effects; its condition may differ from lane to lane."""
        if len(branch.regions) != 2 or any(len(region) != 1 for region in branch.regions):
            raise unsupported(branch, f"a branch inside of {op.name} must have two sides that yield values")
        x = branch.operands[0]
        test = known[x] if x in known else self.eval(x)
        sides = [self.straight(op, region[0], dict(known)) for region in branch.regions]
        found = []
        for r, yes, no in zip(branch.results, *sides, strict=True):
            lvl, vl = max(test.lvl, yes.lvl, no.lvl), max(test.vl, yes.vl, no.vl)
            t, elem = llvm_type(r.type.elem, vl), r.type.elem
            pick = f"select {llvm_type('i1', test.vl)} {test.v}, {t} {self.widen(yes, elem, vl)}"
            found.append(Res(self.let(lvl, f"{pick}, {t} {self.widen(no, elem, vl)}"), lvl, vl))
        return found
