"""Which axis of its operand an axis of an op's result walks; None: none, all elements along it come from one place."""

from __future__ import annotations

from .ttir import Op


def same(op: Op, d: int) -> int | None:
    """Operands and result have the same axes."""
    return d


def without_new(op: Op, d: int) -> int | None:
    """``tt.expand_dims``."""
    axis = op.number("axis")
    return None if d == axis else d - (d > axis)


def permuted(op: Op, d: int) -> int | None:
    """``tt.trans``."""
    order = op.attrs["order"]
    assert isinstance(order, list)
    return int(order[d])
