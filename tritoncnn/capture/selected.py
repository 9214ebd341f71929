"""What x[mask] is in a graph of fixed sizes: all places, and which are selected; ops of which some operands are such."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from tritoncnn.errors import UnsupportedError
from tritoncnn.formulas.dtypes import FLOATS
from tritoncnn.formulas.logic import where
from tritoncnn.ir import Node, Rewriter, Value
from tritoncnn.ops import OPS, Sym

ADVICE = "torch.where keeps the size, a product with the mask too"
FAR = 200  # pairs of values that are looked at to tell two masks apart


@dataclass(frozen=True)
class Selection:
    """``whole`` at the places along ``dim`` where ``mask``, a vector, holds. ``size`` stands for how many these are.

    ``clean``: numbers elsewhere are harmless, and no gradient comes from there.
    """

    whole: Sym
    mask: Sym
    dim: int
    size: int
    clean: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """As torch's tracer has it."""
        return tuple(self.size if d == self.dim else n for d, n in enumerate(self.whole.shape))

    @property
    def dtype(self) -> str:
        return self.whole.dtype

    @property
    def chosen(self) -> Sym:
        """The mask, in line with ``whole``."""
        return in_line(self.mask, len(self.whole.shape), self.dim)

    def filled(self, number: float) -> Sym:
        """``whole`` with a number where nothing is selected."""
        if self.dtype == "i1":
            number = bool(number)
        found: Sym = where(self.chosen, self.whole, float(number) if self.dtype in FLOATS else number)
        return found

    def cleaned(self) -> Selection:
        harmless = 1 if self.dtype in FLOATS else 0
        return self if self.clean else replace(self, whole=self.filled(harmless), clean=True)


def in_line(mask: Sym, rank: int, dim: int) -> Sym:
    found: Sym = OPS["reshape"](mask, shape=tuple(mask.shape[0] if d == dim else 1 for d in range(rank)))
    return found


def selections(values: Any) -> list[Selection]:
    return [one for one in tree_leaves(list(values)) if isinstance(one, Selection)]


@dataclass(frozen=True)
class Call:
    """An ATen op, some of whose operands are selections. ``run`` is what the table makes of it, of tensors."""

    node: torch.fx.Node
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    run: Callable[..., Any]

    @property
    def packet(self) -> str:
        return self.name.split(".")[0]

    def given(self, *names: str) -> Any:
        """The argument of a name of torch's schema; its default where it is not given, None where there is none such."""
        for place, one in enumerate(self.node.target._schema.arguments):  # type: ignore[union-attr]
            if one.name in names:
                return self.args[place] if place < len(self.args) else self.kwargs.get(one.name, one.default_value)
        return None

    def refuse(self, why: str) -> UnsupportedError:
        return UnsupportedError(f"{self.packet.strip('_')} of a selection x[mask], {why}; {ADVICE}")


def place_of(call: Call, like: Selection, shown: torch.Tensor) -> int:
    """The dim of a result that runs over what is selected. Raises UnsupportedError where there is not one."""
    places = [d for d, n in enumerate(shown.shape) if n == like.size]
    if len(places) != 1:
        raise call.refuse("whose result is none")
    return places[0]


def shown_as(call: Call, like: Selection, y: Any, shown: Any, clean: bool = False) -> Any:
    """A result: a selection, or a tensor where nothing of it runs over what is selected."""
    if not isinstance(y, Sym):
        return y
    if like.size not in shown.shape:
        return y
    return Selection(y, like.mask, place_of(call, like, shown), like.size, clean)


def results_of(call: Call, like: Selection, found: Any, clean: bool = False) -> Any:
    shown = call.node.meta["val"]
    if isinstance(found, (tuple, list)):
        return tuple(shown_as(call, like, y, one, clean) for y, one in zip(found, shown, strict=False))
    return shown_as(call, like, found, shown, clean)


def alike(a: Sym, b: Sym) -> bool:
    """Whether two values are computed in the same way of the same ones."""
    return _alike(a.graph, a.value, b.value, {})


def _alike(graph: Rewriter, a: Value, b: Value, known: dict[tuple[Value, Value], bool]) -> bool:
    if a == b:
        return True
    if (a, b) not in known:  # a value may have many ways to another: each pair is looked at once
        known[a, b] = False
        if len(known) > FAR:
            return False
        one, other = _producer(graph, a), _producer(graph, b)
        known[a, b] = (
            one is not None and other is not None
            and (one.op, one.attrs, len(one.operands)) == (other.op, other.attrs, len(other.operands))
            and one.results.index(a) == other.results.index(b)
            and all(_alike(graph, x, y, known) for x, y in zip(one.operands, other.operands, strict=True))
        )  # fmt: skip
    return known[a, b]


def _producer(graph: Rewriter, value: Value) -> Node | None:
    return next((node for node in reversed(graph.nodes) if value in node.results), None)
