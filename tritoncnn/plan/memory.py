"""Where each tensor lies: aliases first, then live ranges -> offsets in one arena.

Source of the packing: Pisarchyk & Lee 2020, "Efficient Memory Management for Deep Neural Net Inference", greedy by size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ALIGN = 64  # bytes: a cache line, and the widest vector


@dataclass(frozen=True)
class Place:
    """``offset`` bytes into ``buffer``: an input's name, ``output 0``..., ``arena``, ``constants``, or a pack's own arena."""

    buffer: str
    offset: int = 0


@dataclass(frozen=True)
class LiveRange:
    """A tensor of ``nbytes`` written by call ``first`` and read last by call ``last``, both counted."""

    key: object
    nbytes: int
    first: int
    last: int


def align(nbytes: int) -> int:
    return (nbytes + ALIGN - 1) // ALIGN * ALIGN


def pack_ranges(ranges: Iterable[LiveRange]) -> tuple[dict[object, int], int]:
    """Offsets (bytes, aligned) such that tensors alive at the same time never overlap; and the arena's size.

    Largest first, each at the lowest gap that is free for its whole life.
    """
    placed: list[tuple[LiveRange, int]] = []
    for new in sorted(ranges, key=lambda r: (-r.nbytes, r.first, r.last)):
        offset = 0
        for old, start in sorted(
            ((r, o) for r, o in placed if r.first <= new.last and new.first <= r.last), key=lambda p: p[1]
        ):
            if offset + align(new.nbytes) <= start:
                break
            offset = max(offset, start + align(old.nbytes))
        placed.append((new, offset))
    size = max((offset + align(r.nbytes) for r, offset in placed), default=0)
    return {r.key: offset for r, offset in placed}, size
