"""What code is made of: indices of elements, computed values, and tensors in scratch memory."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Coord:
    """One index of an element: an i32 (SSA name or number), the level it is known at, and lanes.

    With vl > 0 it stands for the vl indices name, name + step, ...
    """

    name: str
    lvl: int = 0
    vl: int = 0
    step: int = 1

    def first(self) -> Coord:
        """The index of lane 0."""
        return replace(self, vl=0, step=1) if self.vl else self

    @property
    def number(self) -> int | None:
        return None if self.name.startswith("%") else int(self.name)


ZERO = Coord("0")
Coords = tuple[Coord, ...]


@dataclass(frozen=True)
class Res:
    """A computed value: SSA name or literal, level, lanes (0: the same in all lanes)."""

    v: str
    lvl: int = 0
    vl: int = 0

    @property
    def constant(self) -> bool:
        return not self.v.startswith("%")


@dataclass(frozen=True)
class Move:
    """An address: ``pointer`` moved by offsets, each with its LLVM type, in elements of LLVM type ``pointee``."""

    pointer: Res
    pointee: str
    offsets: tuple[tuple[Res, str], ...]


@dataclass(frozen=True)
class Buffer:
    """A tensor in scratch memory; ``lvl`` is the level at which it was filled."""

    ptr: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    elem: str
    lvl: int
