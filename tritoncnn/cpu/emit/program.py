"""Ops in program order: what is emitted at once, and what stays lazy."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tritoncnn.cpu.front.ttir import Op, unsupported

from .buffers import materialise
from .groups import reductions, together
from .pull import compute, is_lazy
from .reduce import reduce
from .state import State
from .stores import store_together
from .values import Res
from .worth import worth_a_buffer


def lower_block(code: State, ops: Sequence[Op]) -> None:
    """Write a list of ops, those that go together as one."""
    done = set[Op]()
    for at, op in enumerate(ops):
        emit_group = code.row(op).emit_group
        if op in done:
            continue
        if emit_group is not None and not is_lazy(code, op):
            done.update(emit_group(code, ops, at))
        else:
            lower_op(code, op)


def lower_op(code: State, op: Op) -> None:
    """Write one op, or note it down."""
    row = code.row(op)
    check_access(code, op)
    if row.meet is not None:
        row.meet(code, op)
    if is_lazy(code, op):
        for r in op.results:
            if worth_a_buffer(code, r):
                materialise(code, r)
    elif row.emit is not None:
        row.emit(code, op)
    elif row.pull is not None and not op.results[0].type.shape:
        _lower_scalar(code, op)
    else:
        raise unsupported(op)


def check_access(code: State, op: Op) -> None:
    """In the modes that ask for it: is each element that the op touches one of its tensor?"""
    if code.guard is not None and code.row(op).access:
        code.guard.check(code, op)


def _lower_scalar(code: State, op: Op) -> None:
    """An op with a scalar result, computed now."""
    v = op.results[0]
    known = code.facts.static(v)
    code.scalars[v] = compute(code, v, ()) if known is None else Res(str(int(known)))


def ignore(code: State, op: Op) -> None:
    """Write nothing: one thread runs a program, and what is assumed is a fact (``analysis.py``)."""


def lower_stores(code: State, ops: Sequence[Op], at: int) -> Collection[Op]:
    """Stores that are done in one loop, after the lazy ops that stand between them."""
    group = together(code, ops, at)
    span = ops[at : ops.index(group[-1]) + 1]
    for op in span:
        if op not in group:
            lower_op(code, op)
    for store in group:
        check_access(code, store)
    store_together(code, group)
    return span


def lower_reductions(code: State, ops: Sequence[Op], at: int) -> Collection[Op]:
    """Reductions that are done in one loop, after what they need."""
    group, before = reductions(code, ops, at)
    for op in before:
        lower_op(code, op)
    reduce(code, group)
    return [*before, *group]
