"""Which of a kernel's pointer arguments an address may come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tritoncnn.cpu.front.blocks import walk
from tritoncnn.cpu.front.traits import Traits
from tritoncnn.cpu.front.ttir import Function, Value


class PointsTo:
    """Follows pointers back through arithmetic, loops, branches and calls of functions that return early."""

    def __init__(
        self, function: Function, callees: Mapping[str, Function], rows: Mapping[str, Traits], names: Sequence[str] = ()
    ) -> None:
        self.rows = rows
        self.names = names or [a.name[1:] for a in function.args]  # Triton calls x ``y`` in its text after ``y = x``
        self._arguments = {a: k for k, a in enumerate(function.args)}
        self._flows: dict[Value, list[Value]] = {}
        for each in (function, *callees.values()):
            for op in walk(each):
                flow = rows[op.name].flow
                for targets, sources in flow(op, each, callees) if flow is not None else ():
                    for to, source in zip(targets, sources, strict=False):
                        self._flows.setdefault(to, []).append(source)

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
            elif v.op is None or v.op.regions or self.rows[v.op.name].computes_address:
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
