"""Differences of neighbours along an axis, and what divides the first of them: the rules of single ops.

stride    within every aligned run of w elements along axis d
multiple  of the first element of every such run; where a rule is left out, 1
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tritoncnn.cpu.front.ttir import Op

from .analysis import Facts

Stride = Callable[["Facts", Op, int, int], "int | None"]
Evenly = Callable[["Facts", Op, "list[int | None]", int, int], "int | None"]  # the third: those of the operands


# ---- shapes ----------------------------------------------------------------------------------------------------------
def zero(facts: Facts, op: Op, d: int, w: int) -> int:
    """One value everywhere."""
    return 0


def along(facts: Facts, op: Op, d: int, w: int) -> int | None:
    """``tt.expand_dims`` and ``tt.trans``: that of the operand along the same axis of its own."""
    at = facts.axis(op, d)
    return None if at is None else facts.stride(op.operands[0], at, w)


def broadcast(facts: Facts, op: Op, d: int, w: int) -> int | None:
    """0 along the axes that are repeated."""
    x = op.operands[0]
    return 0 if x.type.shape[d] == 1 else facts.stride(x, d, w)


def reshape(facts: Facts, op: Op, d: int, w: int) -> int | None:
    """Axis d of the result walks one axis of the operand, or stays inside of one."""
    x, shape = op.operands[0], op.results[0].type.shape
    inner = math.prod(shape[d + 1 :])
    span = math.prod(x.type.shape)
    for a, size in enumerate(x.type.shape):
        span //= size
        if span <= inner < span * size and inner % span == 0 and shape[d] * inner <= span * size:
            s = facts.stride(x, a, size)
            return None if s is None else s * (inner // span)
    return None


# ---- elementwise ops -------------------------------------------------------------------------------------------------
def evenly(rule: Evenly) -> Stride:
    """Equal operands give equal results; else the rule says how steps of the operands become steps of the result."""

    def stride(facts: Facts, op: Op, d: int, w: int) -> int | None:
        steps = [facts.stride(x, d, w) for x in op.operands]
        return 0 if all(s == 0 for s in steps) else rule(facts, op, steps, d, w)

    return stride


@evenly
def only_equal(facts: Facts, op: Op, steps: list[int | None], d: int, w: int) -> int | None:
    """Nothing is known of operands that are not equal."""
    return None


@evenly
def first(facts: Facts, op: Op, steps: list[int | None], d: int, w: int) -> int | None:
    """Casts that change no number."""
    return steps[0]


@evenly
def first_if_not_negative(facts: Facts, op: Op, steps: list[int | None], d: int, w: int) -> int | None:
    """``arith.extui``."""
    return steps[0] if facts.nonnegative(op.operands[0]) else None


@evenly
def total(facts: Facts, op: Op, steps: list[int | None], d: int, w: int) -> int | None:
    """``arith.addi`` and ``tt.addptr``."""
    a, b = steps
    return None if a is None or b is None else a + b


@evenly
def difference(facts: Facts, op: Op, steps: list[int | None], d: int, w: int) -> int | None:
    """``arith.subi``."""
    a, b = steps
    return None if a is None or b is None else a - b


@evenly
def product(facts: Facts, op: Op, steps: list[int | None], d: int, w: int) -> int | None:
    """``arith.muli`` by a constant."""
    for step, other in zip(steps, op.operands[::-1], strict=True):
        c = facts.const(other)
        if c is not None and step is not None:
            return step * c
    return None


def _inside_one_period(facts: Facts, op: Op, steps: list[int | None], d: int, w: int) -> bool:
    """x runs over w consecutive numbers from a multiple of w: no run crosses a multiple of c when w divides c."""
    c, x = facts.const(op.operands[1]), op.operands[0]
    return bool(
        steps[0] == 1 and c and c > 0 and c % w == 0 and facts.multiple(x, d, w) % w == 0 and facts.nonnegative(x)
    )


@evenly
def quotient(facts: Facts, op: Op, steps: list[int | None], d: int, w: int) -> int | None:
    """``arith.divsi`` and ``arith.divui``."""
    return 0 if _inside_one_period(facts, op, steps, d, w) else None


@evenly
def remainder(facts: Facts, op: Op, steps: list[int | None], d: int, w: int) -> int | None:
    """``arith.remsi`` and ``arith.remui``."""
    return 1 if _inside_one_period(facts, op, steps, d, w) else None


# ---- multiples -------------------------------------------------------------------------------------------------------
def multiple_of_scalar(facts: Facts, op: Op, d: int, w: int) -> int:
    """``tt.splat``."""
    return facts.multiple(op.operands[0], 0, 1)


def multiple_along(facts: Facts, op: Op, d: int, w: int) -> int:
    """Ops that keep axes."""
    at = facts.axis(op, d)
    return 1 if at is None else facts.multiple(op.operands[0], at, w)


def multiple_of_operand(facts: Facts, op: Op, d: int, w: int) -> int:
    """The same numbers."""
    return facts.multiple(op.operands[0], d, w)


def multiple_of_both(facts: Facts, op: Op, d: int, w: int) -> int:
    """Sums and differences."""
    return math.gcd(*(facts.multiple(x, d, w) for x in op.operands))


def multiple_of_product(facts: Facts, op: Op, d: int, w: int) -> int:
    """``arith.muli``."""
    return math.prod(facts.multiple(x, d, w) for x in op.operands)


# ---- what people are told of a stride that is not known --------------------------------------------------------------
def unknown_factor(facts: Facts, op: Op) -> str:
    """``arith.muli``."""
    return "the index is multiplied by a number that is not known when the kernel is compiled; a tl.constexpr would be"


def jumps(what: str) -> Callable[[Facts, Op], str]:
    """Quotients and remainders."""

    def why(facts: Facts, op: Op) -> str:
        c = facts.const(op.operands[1])
        by = "a number that is not known when the kernel is compiled" if c is None else str(c)
        return f"{what} of an index by {by} may jump inside of a vector"

    return why
