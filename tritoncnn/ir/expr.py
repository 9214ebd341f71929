"""Pointwise expressions: what a fused op computes for one element.

``relu(add(acc, $0))`` is a tree: ``acc`` is the value the kernel template made, ``$0``, ``$1``... are further operands,
numbers are constants, every other word is a pointwise op of ``tritoncnn.ops``. As an attribute it is this text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tritoncnn.errors import GraphError

ACC = "acc"


@dataclass(frozen=True)
class Expr:
    """``op(args)``; a leaf has no args and its op is ``acc``, ``$3`` or a number's text."""

    op: str
    args: tuple[Expr, ...] = ()

    def __str__(self) -> str:
        return f"{self.op}({', '.join(map(str, self.args))})" if self.args else self.op

    @property
    def operand(self) -> int | None:
        """3 for ``$3``, None for all else."""
        return int(self.op[1:]) if self.op.startswith("$") else None

    @property
    def constant(self) -> float | int | None:
        """The number of a constant leaf, an int where it is written without a point, a truth value; None for all else."""
        if self.args or self.op == ACC or self.op.startswith("$"):
            return None
        if self.op in _TRUTH:
            return self.op == "True"
        return int(self.op) if _WHOLE.fullmatch(self.op) else float(self.op)

    @property
    def size(self) -> int:
        """Nodes of the tree."""
        return 1 + sum(arg.size for arg in self.args)

    def leaves(self) -> Iterator[Expr]:
        if not self.args:
            yield self
        for arg in self.args:
            yield from arg.leaves()

    def substitute(self, table: dict[Expr, Expr]) -> Expr:
        """The tree with leaves (or whole subtrees) replaced."""
        if self in table:
            return table[self]
        return Expr(self.op, tuple(arg.substitute(table) for arg in self.args)) if self.args else self


def arg(index: int) -> Expr:
    return Expr(f"${index}")


def constant(value: float) -> Expr:
    """The leaf of a number: an int takes part in whole-number arithmetic, exactly, a truth value in logic."""
    return Expr(repr(value))


_TRUTH = ("True", "False")
_WHOLE = re.compile(r"-?\d+")
_TOKEN = re.compile(r"\s*([(),]|[^\s(),]+)")


def parse_expr(text: str) -> Expr:
    """Read ``relu(add(acc, $0))``. Raises GraphError where the text is no expression."""
    tokens = _TOKEN.findall(text)
    position = 0

    def take(wanted: str | None = None) -> str:
        nonlocal position
        if position >= len(tokens) or (wanted is not None and tokens[position] != wanted):
            raise GraphError(f"an expression reads like relu(add(acc, $0)); got {text!r}")
        position += 1
        return tokens[position - 1]

    def parse() -> Expr:
        op = take()
        args: list[Expr] = []
        if position < len(tokens) and tokens[position] == "(":
            take("(")
            args.append(parse())
            while tokens[position : position + 1] == [","]:
                take(",")
                args.append(parse())
            take(")")
        return Expr(op, tuple(args))

    tree = parse()
    if position != len(tokens):
        raise GraphError(f"an expression reads like relu(add(acc, $0)); got {text!r}")
    return tree
