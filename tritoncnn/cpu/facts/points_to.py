"""Which of a kernel's pointer arguments an address may come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tritoncnn.cpu.front.blocks import edges, walk
from tritoncnn.cpu.front.row import Table
from tritoncnn.cpu.front.ttir import Function, Op, Value


class PointsTo:
    """Follows pointers back through arithmetic, loops, branches and calls of functions that return early."""

    def __init__(
        self, function: Function, callees: Mapping[str, Function], rows: Table, names: Sequence[str] = ()
    ) -> None:
        self.rows = rows
        self.names = names or [a.name[1:] for a in function.args]  # Triton calls x ``y`` in its text after ``y = x``
        self._arguments = {a: k for k, a in enumerate(function.args)}
        self._flows: dict[Value, list[Value]] = {}
        for each in (function, *callees.values()):
            for op in walk(each):
                self._follow(op, each, callees)

    def _flow(self, targets: Iterable[Value], sources: Iterable[Value]) -> None:
        for to, source in zip(targets, sources, strict=False):
            self._flows.setdefault(to, []).append(source)

    def _follow(self, op: Op, function: Function, callees: Mapping[str, Function]) -> None:
        """What is handed over at the borders of regions, blocks and functions."""
        ends = [region[-1].ops[-1].operands if region[-1].ops else [] for region in op.regions]
        if op.name == "scf.for":
            carried = op.regions[0][0].args[1:]
            for sources in (op.operands[3:], ends[0]):
                self._flow(carried, sources)
                self._flow(op.results, sources)
        elif op.name == "scf.while":
            before, after = (region[0].args for region in op.regions)
            self._flow(before, op.operands)
            self._flow(before, ends[1])
            self._flow(after, ends[0][1:])
            self._flow(op.results, ends[0][1:])
        elif op.name == "scf.if":
            for sources in ends:
                self._flow(op.results, sources)
        elif op.name in ("cf.br", "cf.cond_br"):
            assert op.block is not None
            owner = op.block.owner
            region = function.blocks if owner is None else next(r for r in owner.regions if op.block in r)
            blocks = {block.label: block for block in region}
            for label, values in edges(op.block):
                self._flow(blocks[label].args, values)
        elif op.name == "tt.call":
            callee = callees[str(op.attrs["callee"])]
            self._flow(callee.args, op.operands)
            for inner in walk(callee):
                if inner.name == "tt.return":
                    self._flow(op.results, inner.operands)

    def of(self, pointer: Value) -> frozenset[int] | None:
        """Numbers of the arguments; None when it may be an address that the kernel loads or makes of an integer."""
        found: set[int] = set()
        todo, seen = [pointer], {pointer}
        while todo:
            v = todo.pop()
            if v in self._arguments:
                found.add(self._arguments[v])
                continue
            if v in self._flows:
                sources = self._flows[v]
            elif v.op is None or v.op.regions or self.rows[v.op.name].finds_address:
                return None
            else:
                sources = [x for x in v.op.operands if x.type.elem == "ptr"]
            todo += [x for x in sources if x not in seen]
            seen.update(sources)
        return frozenset(found) or None

    def named(self, pointer: Value) -> str:
        """The arguments' names, for people."""
        found = self.of(pointer)
        return " or ".join(self.names[k] for k in sorted(found)) if found else "a computed pointer"
