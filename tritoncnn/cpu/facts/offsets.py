"""Offsets along an axis, relative to the first element, if the program's data do not change them: the rules of single ops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tritoncnn.cpu.front.ttir import Op

from .analysis import Facts


def along(facts: Facts, op: Op, d: int) -> np.ndarray | None:
    """Ops that keep axes."""
    at = facts.axis(op, d)
    return None if at is None else facts.offsets(op.operands[0], at)


def total(sign: int) -> Callable[[Facts, Op, int], np.ndarray | None]:
    """Sums and differences."""

    def offsets(facts: Facts, op: Op, d: int) -> np.ndarray | None:
        a, b = (facts.offsets(x, d) for x in op.operands)
        return None if a is None or b is None else a - b if sign < 0 else a + b

    return offsets


def product(facts: Facts, op: Op, d: int) -> np.ndarray | None:
    """``arith.muli`` by a constant."""
    for x, y in (op.operands, op.operands[::-1]):
        c, inner = facts.const(y), facts.offsets(x, d)
        if c is not None and inner is not None:
            return inner * c
    return None
