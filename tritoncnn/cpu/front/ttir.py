"""A kernel as a small tree of ops: types, values, ops, blocks, functions."""

from __future__ import annotations

from dataclasses import dataclass, field

from tritoncnn.errors import UnsupportedError


@dataclass(frozen=True)
class Type:
    """A scalar (``shape == ()``) or tensor type. ``elem`` is f32, i1, ptr...; ``pointee`` what a ptr points at."""

    shape: tuple[int, ...]
    elem: str
    pointee: str = ""


@dataclass(eq=False, repr=False)
class Value:
    """One SSA value. ``op`` made it (None: block argument); ``users`` read it; ``divisible`` is a promise on arguments."""

    name: str
    type: Type
    op: Op | None = None
    block: Block | None = None
    users: list[Op] = field(default_factory=list)
    divisible: int = 1


@dataclass(eq=False, repr=False)
class Op:
    """One operation. ``attrs`` holds its printed attributes; ``position`` counts ops in program order."""

    name: str
    operands: list[Value]
    results: list[Value]
    attrs: dict[str, object]
    where: str
    position: int
    regions: list[list[Block]] = field(default_factory=list)
    block: Block | None = None

    def words(self) -> list[str]:
        """What stands between the operands: predicates, atomic kinds, modes."""
        words = self.attrs["words"]
        assert isinstance(words, list)
        return words

    def number(self, key: str) -> int:
        """An integer attribute."""
        value = self.attrs[key]
        assert isinstance(value, int)
        return value


@dataclass(eq=False, repr=False)
class Block:
    """Arguments and ops; ``owner`` is the op whose region holds it (None: the function)."""

    label: str
    args: list[Value]
    ops: list[Op] = field(default_factory=list)
    owner: Op | None = None


@dataclass(eq=False, repr=False)
class Function:
    """A ``tt.func``: its arguments are those of its first block."""

    name: str
    blocks: list[Block]
    ops: list[Op]

    @property
    def args(self) -> list[Value]:
        return self.blocks[0].args


def unsupported(op: Op, why: str = "") -> UnsupportedError:
    """The error for an op that the lowering does not know."""
    where = f" at {op.where}" if op.where else ""
    return UnsupportedError(f"{op.name}{where}: {why or 'the CPU backend does not know this op'}.")
