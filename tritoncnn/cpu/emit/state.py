"""What the lowering of one function knows: its own notes beside the code that it has written."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tritoncnn.cpu.facts.analysis import Facts
from tritoncnn.cpu.facts.remarks import Remarks
from tritoncnn.cpu.front.row import Row, Table
from tritoncnn.cpu.front.ttir import Function, Op, Value

from .builder import Builder
from .values import Res

if TYPE_CHECKING:
    from tritoncnn.cpu.sanitize.guards import Guard


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
    guard: Guard | None = None
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
