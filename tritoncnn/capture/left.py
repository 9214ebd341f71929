"""What a trace leaves behind: tensors without numbers that user code has kept, in a functools.lru_cache or a dict of its file.

Tables that follow from the code's own numbers get theirs, as if the call had been a real one: code that finds them there later
computes with them.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch.utils import swap_tensors

T = TypeVar("T")
aten = torch.ops.aten
DRAWN = {
    aten.feature_dropout.default,
    aten.alpha_dropout.default,
    aten.feature_alpha_dropout.default,
}  # torch tags not all
LENDING = frozenset({  # ops that ask a tensor for its size and dtype, not for its numbers; of the latter ones the second
    "zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty",
    "type_as", "expand_as", "view_as", "reshape_as",
})  # fmt: skip
# Tensors without numbers by a key, which nothing else of ours holds; and what gives the numbers by such keys.
Tables = tuple[dict[int, torch.Tensor], Callable[[list[int]], Mapping[int, torch.Tensor]]]


class Trace(Protocol):
    """Who has written down what a call did."""

    def leave(self) -> Tables:
        """What it holds of tables, once it has let go of all else."""
        ...


def leave(traces: Iterable[Trace]) -> None:
    """Give numbers to the tables that user code has kept from some calls; nothing of these is traced any more."""
    left = [trace.leave() for trace in traces]  # all let go first: autograd knows tables of one by results of another
    for tables, compute in left:
        _fill(tables, compute)


def _fill(tables: dict[int, torch.Tensor], compute: Callable[[list[int]], Mapping[int, torch.Tensor]]) -> None:
    """Give numbers, in place, to those of ``tables`` that something else holds too.

    One that cannot be computed, or that autograd still knows, stays as it is.
    """
    kept = [key for key in tables if sys.getrefcount(tables[key]) > 2]  # the dict's, and that of this call
    if not kept:
        return
    with contextlib.suppress(Exception), torch.no_grad():  # whatever an op raises: the table has no numbers then
        found = compute(kept)
        if missing := [key for key in kept if not _became(tables[key], found[key])]:
            gc.collect(1)  # frames of the call that hold each other; nothing has been collected since they were made
            for key in missing:
                _became(tables[key], found[key])


def _became(table: torch.Tensor, numbers: torch.Tensor) -> bool:
    try:
        swap_tensors(table, numbers.detach())
    except RuntimeError:
        return False
    return True


def all_of(func: Any, operands: Sequence[T]) -> Sequence[T]:
    return operands


def read_of(func: Any, operands: Sequence[T]) -> Sequence[T]:
    """Those tensors among an op's operands whose numbers count, not their sizes and dtypes alone."""
    packet, _, overload = getattr(func, "__name__", "").partition(".")
    if packet not in LENDING and (packet, overload) != ("to", "other"):
        return operands
    return operands[:1] if packet == "to" or packet.endswith("_as") else ()


def is_fixed(
    node: torch.fx.Node,
    constants: Collection[str],
    known: dict[torch.fx.Node, bool],
    read: Callable[[Any, Sequence[torch.fx.Node]], Sequence[torch.fx.Node]] = all_of,
) -> bool:
    """Whether a result follows from numbers of the code alone; ``known`` has what is known of others.

    ``read``: by ``read_of``, it may follow from sizes of other tensors, too.
    """

    def follows(one: torch.fx.Node) -> bool:
        if one.op == "placeholder":
            return one.name in constants
        drawn = torch.Tag.nondeterministic_seeded in getattr(one.target, "tags", ()) or one.target in DRAWN
        return not drawn and all(known[x] for x in read(one.target, one.all_input_nodes))

    return after_operands(node, follows, known, read)


def numbers_of(node: torch.fx.Node, constants: dict[str, torch.Tensor], known: dict[torch.fx.Node, Any]) -> Any:
    """What a result is that follows from numbers of the code, and sizes; ``known`` has those that are computed."""

    def compute(one: torch.fx.Node) -> Any:
        if one.op == "placeholder":
            return constants[one.name].clone()
        args, kwargs = torch.fx.map_arg(
            (one.args, one.kwargs), lambda x: known[x] if x in known else lent(x.meta["val"])
        )
        call: Any = one.target
        return call(*args, **kwargs)

    return after_operands(node, compute, known, read_of)


def lent(tensor: torch.Tensor) -> torch.Tensor:
    """Zeros of a tensor's size and dtype."""
    return torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)


def after_operands(
    node: torch.fx.Node,
    find: Callable[[torch.fx.Node], T],
    known: dict[torch.fx.Node, T],
    read: Callable[[Any, Sequence[torch.fx.Node]], Sequence[torch.fx.Node]] = all_of,
) -> T:
    """What is found of a node, once it is known of all that it is made of. Not by recursion: chains may be long."""
    todo = [node]
    while todo:
        one = todo[-1]
        missing = [x for x in read(one.target, one.all_input_nodes) if x not in known] if one not in known else []
        if missing:
            todo += missing
            continue
        if one not in known:
            known[one] = find(one)
        todo.pop()
    return known[node]
