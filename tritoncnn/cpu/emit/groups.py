"""Neighbouring stores, and neighbouring reductions, that are done in one loop."""

from __future__ import annotations

from collections.abc import Sequence

from tritoncnn.cpu.front.ttir import Op

from .order import origin
from .pull import is_lazy
from .reduce import MOST_SUMS
from .state import State


def together(code: State, ops: Sequence[Op], at: int) -> list[Op]:
    """Stores of one shape and address pattern, with nothing between them that touches memory."""
    first = ops[at]
    group = [first]
    place = origin(code, first.operands[0])
    if not first.operands[0].type.shape or place[0] is None:
        return group
    for op in ops[at + 1 :]:
        row = code.row(op)
        if op.name == first.name:
            p = op.operands[0]
            there = origin(code, p)
            if p.type.shape != first.operands[0].type.shape or there[0] is None or there[1] != place[1]:
                break
            group.append(op)
        elif row.access == "load" or op.regions or not (is_lazy(code, op) or row.literal):
            break
    return group


def reductions(code: State, ops: Sequence[Op], at: int) -> tuple[list[Op], list[Op]]:
    """Reductions of one shape and axis from ops[at] on that don't need each other, and what must come before them."""
    first = ops[at]
    group, before = [first], list[Op]()
    after, between = set(first.results), list[Op]()  # what needs one of their results; what does not
    for op in ops[at + 1 :]:
        row = code.row(op)
        reduces = op.name == first.name and not is_lazy(code, op)
        if any(x in after for x in op.operands):
            if reduces or op.regions or not (is_lazy(code, op) or row.elementwise):
                break
            after.update(op.results)
        elif reduces:
            operands = sum(len(x.operands) for x in (*group, op))
            same = op.operands[0].type.shape == first.operands[0].type.shape
            if not same or op.number("axis") != first.number("axis") or operands > MOST_SUMS:
                break
            group.append(op)
            after.update(op.results)
            before = list(between)
        elif is_lazy(code, op) or row.elementwise or row.literal or row.access == "load":
            between.append(op)
        else:
            break
    return group, before


def reduced_together(code: State, ops: Sequence[Op], at: int) -> list[Op]:
    """The first of what ``reductions`` says."""
    return reductions(code, ops, at)[0]


def leader(code: State, op: Op) -> Op:
    """The first of the ops that are done in one loop with this one; the op itself if there are no others."""
    if code.row(op).group is not None and op not in code.leaders:
        assert op.block is not None
        ops = op.block.ops
        for at, x in enumerate(ops):
            group = code.row(x).group
            if x not in code.leaders and group is not None and not is_lazy(code, x):
                code.leaders.update(dict.fromkeys(group(code, ops, at), x))
    return code.leaders.get(op, op)
