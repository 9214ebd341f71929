"""What one TTIR op is like, whatever is known of its operands: the columns of the table in ``cpu/table.py`` that all may read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .ttir import Block, Function, Op, Type, Value

# op, its function, the functions that are called -> (those that values become, those that come)
Flow = Callable[[Op, Function, Mapping[str, Function]], Iterator[tuple[Sequence[Value], Sequence[Value]]]]


class Reader(Protocol):
    """What a column ``reads`` may ask of the parser."""

    scope: dict[str, Value]

    def values(self, text: str) -> list[Value]:
        """The values whose names stand in a text, in order."""

    def define(self, name: str, type: Type, op: Op | None, block: Block | None) -> Value:
        """A new value, known by its name from now on."""

    def region(self, first: Block, owner: Op | None) -> list[Block]:
        """Blocks up to the closing brace, which is not consumed."""

    def close(self, op: Op) -> str:
        """The line that ends a region."""

    def plain(self, op: Op, rest: str) -> list[Type]:
        """An op without regions: operands, words, attributes; the types of its results."""


Reads = Callable[[Reader, Op, str], list[Type]]  # the op, its text behind the name -> the types of its results


def never(op: Op) -> bool:
    """No op of this name does."""
    return False


def always(op: Op) -> bool:
    """Every op of this name does."""
    return True


def nowhere(op: Op) -> int:
    """Operands are read at the place of the result only."""
    return 0


def operands(op: Op) -> list[Value]:
    """All of them."""
    return op.operands


@dataclass(frozen=True)
class Traits:
    """One op. A column that is left out says that the op does not do this.

    reads       how its text becomes operands, attributes and regions, where that is not as for most ops (``parser.py``)
    called      its text is a function's, which is read in its place
    results     the types of its results, from those that are printed; left out: all behind an arrow, else the first
    counts      a loop whose index is a number: the first argument of its region
    lazy        does it emit nothing until its result is read? (Only tensors are lazy.)
    axis        which axis of its operands an axis of its result walks, if they go along each other (``axes.py``)
    address     what it adds to an address: a key that is equal for equal offsets
    conjuncts   the parts of a mask that must all hold
    flow        which values become which where it hands them over
    computes_address    out of memory, an integer or a call: nothing says which argument it lies in
    moves       its elements are its operand's, in other places
    even        steps evenly where its operands do
    assumes     that its operand holds
    elsewhere   in how many other places it reads operands, for one vector
    fp8         takes 8-bit floats as they are; arithmetic is done in f32 for others
    pointwise   an element needs at most the same element of its operands
    spreads     repeats its operand along axes
    literal     its elements are in the text
    reaches     reads its operands by itself, wherever they are
    access      "load", "store" or "atomic"
    mask        which operand says where it touches memory, if there is one
    writes      memory; or no load may move before it, out of a loop
    branches    runs one of its regions
    loops       runs its regions many times
    ends        a block
    """

    reads: Reads | None = None
    called: bool = False
    results: Callable[[list[Type]], list[Type]] | None = None
    counts: bool = False
    lazy: Callable[[Op], bool] = never
    axis: Callable[[Op, int], int | None] | None = None
    address: Callable[[Op], tuple[object, ...]] | None = None
    conjuncts: Callable[[Op], list[Value]] | None = None
    flow: Flow | None = None
    computes_address: bool = False
    moves: bool = False
    even: bool = False
    assumes: bool = False
    elsewhere: Callable[[Op], int] = nowhere
    fp8: bool = False
    pointwise: bool = False
    spreads: bool = False
    literal: bool = False
    reaches: bool = False
    access: str = ""
    mask: int | None = None
    writes: bool = False
    branches: bool = False
    loops: bool = False
    ends: bool = False
