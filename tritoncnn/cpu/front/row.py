"""What one TTIR op is: a row of the table in ``cpu/table.py``, and all that the lowering knows of an op by its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .ttir import Function, Op, Value

if TYPE_CHECKING:
    from tritoncnn.cpu.emit.state import State
    from tritoncnn.cpu.emit.values import Coords, Res
    from tritoncnn.cpu.facts.analysis import Facts


# op, its function, the functions that are called -> (those that values become, those that come)
Flow = Callable[[Op, Function, Mapping[str, Function]], Iterator[tuple[Sequence[Value], Sequence[Value]]]]


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


def not_known(facts: Facts, op: Op) -> str:
    """Nothing special is known of why."""
    return f"how the result of {op.name} steps is not known"


def as_given(code: State, op: Op, rs: list[Res]) -> Res | None:
    """Nothing is simpler than the op itself."""
    return None


@dataclass(frozen=True)
class Row:
    """One op. A column that is left out says that the op does not do this.

    How code is written for it:
    emit        writes all of its code, where the op stands
    pull        writes one element, or one vector, of its result; ops with no other way are emitted by pulling a scalar
    apply       elementwise ops: the same, of given elements
    simplify    elementwise ops: what given literals decide
    lazy        does it emit nothing until its result is read? (Only tensors are lazy.)
    meet        notes down a lazy op where it stands
    group       the ops that are done in one loop with ops[at], itself first
    emit_group  writes them, and what must come before; the ops that are done come back

    What is known of integers, addresses and masks (``facts/``); the first argument of most is ``Facts``:
    fold        elements of its result, given those of its operands as numpy arrays
    range       inclusive bounds
    truth       of a mask, the same everywhere
    stride      difference of neighbours along an axis, in runs of some width
    multiple    what divides the first of each run; left out: 1
    offsets     along an axis, relative to the first element
    conjuncts   the parts of a mask that must all hold
    computes_address    out of memory, an integer or a call: nothing says which argument it lies in
    flow        which values become which where it hands them over
    moves       its elements are its operand's, in other places
    even        steps evenly where its operands do
    uneven      what people are told where that is not known
    assumes     that its operand holds

    What its code is like:
    axis        which axis of its operands an axis of its result walks, if they go along each other (``axes.py``)
    address     what it adds to an address: a key that is equal for equal offsets
    weight      plain instructions for one vector of its result
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

    emit: Callable[[State, Op], None] | None = None
    pull: Callable[[State, Op, Value, Coords], Res] | None = None
    apply: Callable[[State, Op, list[Res]], Res] | None = None
    simplify: Callable[[State, Op, list[Res]], Res | None] = as_given
    lazy: Callable[[Op], bool] = never
    meet: Callable[[State, Op], None] | None = None
    group: Callable[[State, Sequence[Op], int], list[Op]] | None = None
    emit_group: Callable[[State, Sequence[Op], int], Collection[Op]] | None = None

    fold: Callable[[Op, list[np.ndarray], Any], np.ndarray | None] | None = None
    range: Callable[[Facts, Op], tuple[float, float] | None] | None = None
    truth: Callable[[Facts, Op], bool | None] | None = None
    stride: Callable[[Facts, Op, int, int], int | None] | None = None
    multiple: Callable[[Facts, Op, int, int], int] | None = None
    offsets: Callable[[Facts, Op, int], np.ndarray | None] | None = None
    conjuncts: Callable[[Op], list[Value]] | None = None
    flow: Flow | None = None
    computes_address: bool = False
    moves: bool = False
    even: bool = False
    uneven: Callable[[Facts, Op], str] = not_known
    assumes: bool = False

    axis: Callable[[Op, int], int | None] | None = None
    address: Callable[[Op], tuple[object, ...]] | None = None
    weight: int | Callable[[State, Op], int] = 0
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

    @property
    def elementwise(self) -> bool:
        """Does it compute each element from the elements at the same place?"""
        return self.apply is not None


Table = Mapping[str, Row]
