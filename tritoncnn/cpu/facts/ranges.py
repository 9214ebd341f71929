"""Bounds of integers, and masks that are true or false everywhere: the rules of single ops."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from tritoncnn.cpu.front.elements import BITS
from tritoncnn.cpu.front.ttir import Op, Value

from .analysis import Facts

Range = tuple[float, float]  # inclusive; inf: no bound is known, but arithmetic is trusted not to wrap around


def program_id(facts: Facts, op: Op) -> Range:
    """From 0 up to what is assumed of it."""
    return 0, _assumed_most(facts, op.results[0])


def num_programs(facts: Facts, op: Op) -> Range:
    """There is at least one."""
    return 1, inf


def _assumed_most(facts: Facts, v: Value) -> float:
    """What ``tl.assume(v < number)`` says of v."""
    most = inf
    for user in v.users:
        if user.operands[0] is v and user.words()[:1] == ["slt"]:
            limit = facts.const(user.operands[1])
            if limit is not None and any(facts.row(u).assumes for u in user.results[0].users):
                most = min(most, limit - 1)
    return most


def of_operand(facts: Facts, op: Op) -> Range | None:
    """The same numbers."""
    return facts.range(op.operands[0])


def if_it_fits(facts: Facts, op: Op) -> Range | None:
    """The same numbers, where they are not negative and their signed type holds them."""
    found = facts.range(op.operands[0])
    top = 2 ** (BITS[op.results[0].type.elem] - 1) - 1
    return found if found and found[0] >= 0 and found[1] <= top else None


def either(facts: Facts, op: Op) -> Range | None:
    """``arith.select``: one of two values."""
    a, b = facts.range(op.operands[1]), facts.range(op.operands[2])
    return (min(a[0], b[0]), max(a[1], b[1])) if a and b else None


def both(rule: Callable[[Range, Range], Range | None]) -> Callable[[Facts, Op], Range | None]:
    """Rules that need bounds of both operands."""

    def bounds(facts: Facts, op: Op) -> Range | None:
        a, b = (facts.range(x) for x in op.operands)
        return rule(a, b) if a and b else None

    return bounds


@both
def total(a: Range, b: Range) -> Range:
    """``arith.addi``."""
    return a[0] + b[0], a[1] + b[1]


@both
def difference(a: Range, b: Range) -> Range | None:
    """``arith.subi``."""
    return (a[0] - b[1], a[1] - b[0]) if inf not in (b[1], a[1]) or b[1] != inf else None


@both
def product(a: Range, b: Range) -> Range:
    """``arith.muli``."""
    ends = [x * y if x and y else 0 for x in a for y in b]
    return min(ends), max(ends)


@both
def quotient(a: Range, b: Range) -> Range | None:
    """``arith.divsi`` and ``arith.divui``, of numbers that are not negative."""
    if b[0] <= 0 or a[0] < 0:
        return None
    return (a[0] // b[1] if b[1] != inf else 0), (a[1] // b[0] if a[1] != inf else inf)


@both
def least(a: Range, b: Range) -> Range:
    """``arith.minsi``."""
    return min(a[0], b[0]), min(a[1], b[1])


@both
def greatest(a: Range, b: Range) -> Range:
    """``arith.maxsi``."""
    return max(a[0], b[0]), max(a[1], b[1])


def remainder(signed: bool) -> Callable[[Facts, Op], Range | None]:
    """Below a positive divisor, whatever is divided."""

    def bounds(facts: Facts, op: Op) -> Range | None:
        a, b = (facts.range(x) for x in op.operands)
        if not b or b[0] <= 0:
            return None
        low = 0 if (a and a[0] >= 0) or not signed else 1 - b[1]
        return low, min(b[1] - 1, a[1] if a and a[0] >= 0 else inf)

    return bounds


def some_bits(facts: Facts, op: Op) -> Range | None:
    """``arith.andi``: no more than an operand that is not negative."""
    known = [r for r in (facts.range(x) for x in op.operands) if r and r[0] >= 0]
    return (0, min(r[1] for r in known)) if known else None


# ---- masks -----------------------------------------------------------------------------------------------------------
def truth_of_operand(facts: Facts, op: Op) -> bool | None:
    """The same mask."""
    return facts.truth(op.operands[0])


def all_true(facts: Facts, op: Op) -> bool | None:
    """``arith.andi``."""
    parts = [facts.truth(x) for x in op.operands]
    return False if False in parts else True if parts == [True, True] else None


def any_true(facts: Facts, op: Op) -> bool | None:
    """``arith.ori``."""
    parts = [facts.truth(x) for x in op.operands]
    return True if True in parts else False if parts == [False, False] else None


def compared(facts: Facts, op: Op) -> bool | None:
    """``arith.cmpi``, where ranges decide."""
    a, b = facts.range(op.operands[0]), facts.range(op.operands[1])
    if not a or not b:
        return None
    how = op.words()[0]
    if how[0] == "u":
        if a[0] < 0 or b[0] < 0:
            return None
        how = "s" + how[1:]
    if how in ("sgt", "sge"):
        a, b, how = b, a, {"sgt": "slt", "sge": "sle"}[how]
    if how == "slt":
        return True if a[1] < b[0] else False if a[0] >= b[1] else None
    if how == "sle":
        return True if a[1] <= b[0] else False if a[0] > b[1] else None
    if a[1] < b[0] or b[1] < a[0]:
        return how == "ne"
    return None
