"""What ops add to an address, as keys that are equal for equal offsets."""

from __future__ import annotations

from .ttir import Op


def nothing(op: Op) -> tuple[object, ...]:
    """The same address, repeated."""
    return ()


def new_axis(op: Op) -> tuple[object, ...]:
    """An axis of one, which says along which axis the offsets before it lie."""
    return (("expand", op.number("axis")),)


def offset(op: Op) -> tuple[object, ...]:
    """An index expression."""
    return (op.operands[1],)
