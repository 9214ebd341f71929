"""What the lowering of one function knows: its own notes beside the code that it has written, and what each op is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tritoncnn.cpu.facts.analysis import Facts, Rules
from tritoncnn.cpu.facts.remarks import Remarks
from tritoncnn.cpu.front.ttir import Function, Op, Value

from .builder import Builder
from .values import Coords, Res


def as_given(code: State, op: Op, rs: list[Res]) -> Res | None:
    """Nothing is simpler than the op itself."""
    return None


@dataclass(frozen=True)
class Row(Rules):
    """What one TTIR op is: how code is written for it, beside what is known of its result and what it is like.

    emit        writes all of its code, where the op stands
    pull        writes one element, or one vector, of its result; ops with no other way are emitted by pulling a scalar
    apply       elementwise ops: the same, of given elements
    simplify    elementwise ops: what given literals decide
    meet        notes down a lazy op where it stands
    group       the ops that are done in one loop with ops[at], itself first
    emit_group  writes them, and what must come before; the ops that are done come back
    weight      plain instructions for one vector of its result
    """

    emit: Callable[[State, Op], None] | None = None
    pull: Callable[[State, Op, Value, Coords], Res] | None = None
    apply: Callable[[State, Op, list[Res]], Res] | None = None
    simplify: Callable[[State, Op, list[Res]], Res | None] = as_given
    meet: Callable[[State, Op], None] | None = None
    group: Callable[[State, Sequence[Op], int], list[Op]] | None = None
    emit_group: Callable[[State, Sequence[Op], int], Collection[Op]] | None = None
    weight: int | Callable[[State, Op], int] = 0

    @property
    def elementwise(self) -> bool:
        """Does it compute each element from the elements at the same place?"""
        return self.apply is not None


Table = Mapping[str, Row]


class Checks(Protocol):
    """Writes what checks a program's accesses as it runs (``sanitize/guards.py``)."""

    def check(self, code: State, op: Op) -> None:
        """The check of one load, store or atomic, where it stands."""

    def after_call(self, code: State) -> None:
        """What follows a call of a function, which may have ended the program."""


@dataclass(eq=False)
class State(Builder):
    """One function on its way to LLVM IR.

    Of the module, the same in the kernel and in the functions that it calls:
    rows          what each op is, by its name
    features      the CPU's, by LLVM's names; functions that are called do without
    callees       functions that return early
    guard         writes the checks, in the modes that check accesses
    remarks       what was decided on the way

    Of the function:
    facts         what is known of its values before they are computed
    result        LLVM type of what it gives back
    tensors       the kernel's arguments: equal, or of memory that does not overlap

    Loads, which are read when they are needed; noted by ``loads.py``:
    loads         tensor loads met so far, which ``order.py`` may force
    floors        a load may not move out of the level at which its op stands
    load_levels   per level: where loads of that level may stand; regions set it (``control.py``)

    What was found once, and holds:
    sinks         the ops that will pull a value (``worth.py``)
    trees         cost of pulling a value where nothing is shared (``worth.py``)
    lengths       longest way from a value back to what is read (``worth.py``)
    leaders       store or reduction -> first one of its loop (``groups.py``)
    spares        size -> scratch that masked stores without a lane may point at (``stores.py``)
    """

    rows: Table = field(default_factory=dict)
    features: Collection[str] = ()
    callees: dict[str, Function] = field(default_factory=dict)
    guard: Checks | None = None
    remarks: Remarks = field(default_factory=Remarks)

    facts: Facts = field(init=False)
    result: str = "void"
    tensors: set[Value] = field(default_factory=set)

    loads: list[Op] = field(default_factory=list)
    floors: dict[Value, int] = field(default_factory=dict)
    load_levels: list[int] = field(default_factory=lambda: [0])

    sinks: dict[Value, frozenset[Op]] = field(default_factory=dict)
    trees: dict[Value, int] = field(default_factory=dict)
    lengths: dict[Value, int] = field(default_factory=dict)
    leaders: dict[Op, Op] = field(default_factory=dict)
    spares: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.facts = Facts(self.rows)

    def row(self, op: Op) -> Row:
        """What an op is."""
        return self.rows[op.name]

    def give_up(self) -> None:
        """End the function early, because the program failed."""
        self.emit("ret void" if self.result == "void" else f"ret {self.result} zeroinitializer")


Apply = Callable[[State, Op, list[Res]], Res]  # an elementwise op on given elements
# op, its operands in all lanes, level, lanes -> the result's name
Lanes = Callable[[State, Op, list[str], int, int], str]
