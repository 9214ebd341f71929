"""What the lowering decided, written down where it decides: how each load and store moves, how each dot is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tritoncnn.cpu.front.ttir import Op, Value

from .analysis import Facts
from .points_to import PointsTo


@dataclass(frozen=True)
class Access:
    """One way in which the code of a load, store or atomic moves its elements.

    op          "load", "store" or "atomic"
    how         "vector"; "broadcast": one address for all lanes; "scalar": an element at a time; "in place": by a dot;
                "strided": lanes a fixed step apart, and "gather": anywhere, both by a gather or scatter instruction
    contiguous  an axis along which addresses step by one although this code does not use it
    """

    op: str
    where: str
    argument: str
    elem: str
    how: str
    lanes: int
    masked: bool
    why: str
    contiguous: int | None = None

    def __str__(self) -> str:
        width = f" of {self.lanes} {self.elem}" if self.lanes else f", {self.elem}"
        masked = ", masked" if self.masked else ""
        return f"{self.where or 'unknown line'}: {self.op} {self.argument}: {self.how}{width}{masked}: {self.why}"


@dataclass(frozen=True)
class Product:
    """How one ``tl.dot`` is computed. Sizes are those that are left when what masks rule out is cut off.

    tile        rows by vectors of sums that are kept in registers; a and b: how the factors are reached, and why
    """

    where: str
    sizes: tuple[int, int, int]
    tile: tuple[int, int]
    lanes: int
    multiply: str
    a: str
    b: str

    def __str__(self) -> str:
        M, N, K = self.sizes
        rows, vectors = self.tile
        tile = f"{self.multiply}, tiles of {rows} rows by {vectors} vectors of {self.lanes}"
        head = f"{self.where or 'unknown line'}: dot {M}x{N}x{K}: {tile}"
        return f"{head}\n  A {self.a}\n  B {self.b}"


class Remarks:
    """The remarks of one kernel, in the order of its code. ``names``: its run-time arguments, as its source calls them."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = names
        self.accesses: dict[Access, None] = {}
        self.products: dict[Product, None] = {}
        self.reasons: dict[Value, str] = {}  # how a dot reaches a factor
        self.points_to: PointsTo | None = None

    def _add(
        self, op: Op, kind: str, how: str, lanes: int, masked: bool, why: str, contiguous: int | None = None
    ) -> None:
        assert self.points_to is not None
        p = op.operands[0]
        elem = (op.results[0] if op.results else op.operands[1]).type.elem
        note = Access(kind, op.where, self.points_to.named(p), elem, how, lanes, masked, why, contiguous)
        self.accesses.setdefault(note)

    def access(self, facts: Facts, op: Op, along: Sequence[int], step: int | None, masked: bool) -> None:
        """A load, store or atomic of so many lanes along each axis (0: of one element), whose addresses lie ``step`` elements
        apart (None: anywhere)."""
        p, kind = op.operands[0], facts.row(op).access
        axis = next((d for d, n in enumerate(along) if n and p.type.shape and p.type.shape[d] > 1), None)
        lanes = max(along, default=0)
        if not p.type.shape:
            self._add(op, kind, "scalar", 0, masked, "its address is one number")
        elif not lanes:
            self._add(op, kind, "scalar", 0, masked, "what uses it goes an element at a time")
        elif axis is None or step == 0:
            self._add(op, kind, "broadcast", lanes, masked, "its address is the same in all lanes")
        elif step == 1:
            self._add(op, kind, "vector", lanes, masked, f"addresses step by 1 element along axis {axis}")
        else:
            others = [d for d, n in enumerate(p.type.shape) if d != axis and n > 1]
            flat = next((d for d in others if facts.stride(p, d, min(lanes, p.type.shape[d])) == 1), None)
            why = f"addresses step by {step} elements along axis {axis}"
            if step is None:
                why = f"no fixed step along axis {axis}: {missing(facts, p, axis, lanes)}"
            if flat is not None:
                why += f"; they step by 1 along axis {flat}, but its user goes along axis {axis}"
            self._add(op, kind, "gather" if step is None else "strided", lanes, masked, why, flat)

    def element(self, op: Op, kind: str, masked: bool, why: str) -> None:
        """A store or atomic that goes an element at a time."""
        self._add(op, kind, "scalar", 0, masked, why if op.operands[0].type.shape else "its address is one number")

    def in_place(self, load: Op, why: str) -> None:
        """A load that a dot does by itself, from where its operand lies."""
        self._add(load, "load", "in place", 0, len(load.operands) > 1, f"the dot reads it where it lies: {why}")

    def copied(self, load: Op, width: int) -> None:
        """A load that a dot does by itself, row by row into scratch."""
        self._add(
            load, "load", "vector", width, True, "the dot copies its rows, as far as their elements are neighbours"
        )

    def product(self, note: Product) -> None:
        self.products.setdefault(note)


def missing(facts: Facts, v: Value, d: int, width: int) -> str:
    """Where the knowledge of how v steps along an axis ends, and on what."""
    while v.op is not None:
        op = v.op
        row = facts.row(op)
        if row.access == "load":
            return "the index is loaded from memory" + _at(op)
        if not row.even:
            return row.uneven(facts, op) + _at(op)
        inner = [(x, facts.axis(op, d)) for x in op.operands if x.type.shape]
        unknown = [(x, e) for x, e in inner if e is not None and facts.stride(x, e, width) is None]
        if not unknown:
            return row.uneven(facts, op) + _at(op)
        v, d = unknown[0]
    return f"it is carried by a loop or branch ({v.name[1:]})"


def _at(op: Op) -> str:
    return f" ({op.where})" if op.where else ""
