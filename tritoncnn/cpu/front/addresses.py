"""What ops add to an address, as keys that are equal for equal offsets."""

from __future__ import annotations

from .ttir import Op

REPEATS = ("tt.broadcast", "tt.splat")


def nothing(op: Op) -> tuple[object, ...]:
    """The same address, repeated."""
    return ()


def new_axis(op: Op) -> tuple[object, ...]:
    """An axis of one, which says along which axis the offsets before it lie."""
    return (("expand", op.number("axis")),)


def offset(op: Op) -> tuple[object, ...]:
    """An index expression, whichever shape it is broadcast to."""
    v = op.operands[1]
    while v.op is not None and v.op.name in REPEATS:
        v = v.op.operands[0]
    return (v,)
