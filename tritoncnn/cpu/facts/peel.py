"""Where to cut a loop over a block in parts, so that a mask that ends inside the block is tested at its end only.

A block of 1024 under ``offs < 1000`` becomes 62 whole vectors without masks, one that is masked, and one of nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from tritoncnn.cpu.front.ttir import Value

from .analysis import Facts


def peel(facts: Facts, known: Collection[Value], roots: Sequence[Value], axis: int, step: int) -> tuple[int, ...]:
    """Indices at which to cut a loop over ``axis``: multiples of ``step``.

    known  values that are read, not computed: what lies behind them does not matter

    Only for masks that are the same in every program and fall once from true to false; none if such masks disagree.
    """
    ends: set[int] = set()
    seen: set[tuple[Value, int]] = set()

    def walk(v: Value, at: int) -> None:
        """at: which axis of v lies along the loop."""
        op = v.op
        if (v, at) in seen or v in known or op is None or not v.type.shape or v.type.shape[at] == 1:
            return
        seen.add((v, at))
        if v.type.elem == "i1" and (xs := facts.static(v)) is not None:
            wanted = np.asarray(xs.any(axis=tuple(d for d in range(xs.ndim) if d != at)))
            end = int(wanted.sum())
            if 0 < end < len(wanted) and wanted[:end].all():
                ends.add(end)
        else:
            inner = at if facts.row(op).access == "load" else facts.axis(op, at)
            if inner is not None:
                for x in op.operands:
                    walk(x, inner)

    for root in roots:
        if root.type.shape:
            walk(root, axis)
    if len(ends) != 1:
        return ()
    end = ends.pop()
    return (end // step * step, -(-end // step) * step)
