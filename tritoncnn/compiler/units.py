"""Which parameters a step trains: an update names them, and those with the same numbers share an arena."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tritoncnn.autodiff import reached
from tritoncnn.capture import Captured
from tritoncnn.compiler.memory import Slot
from tritoncnn.errors import InputError
from tritoncnn.ir import Graph
from tritoncnn.optim import Optimizer, Unit, numbered
from tritoncnn.passes.pack_parameters import ARENA, lay_out
from tritoncnn.tree import Form


@dataclass(frozen=True)
class Update:
    """Parameters ``of`` follow the gradient of ``loss``, ``by`` an optimizer.

    loss  name (or number) of a scalar among the results; None: the only result, the first of a tuple, or ``loss`` of a dict
    of    names of nets (``"G"``) or patterns of parameters (``"G.head.*"``); None: all that require a gradient
    by    ``tritoncnn.SGD(...)``, ``Adam(...)``...
    """

    loss: str | int | None = None
    of: str | Sequence[str] | None = None
    by: Optimizer | None = None


def units_of(
    captured: Captured, updates: Sequence[Update], slots: Mapping[str, Slot], owned: Collection[str]
) -> tuple[Unit, ...]:
    """The units of all updates. ``owned``: the parameters that an update trains which names none. Raises InputError."""
    units: list[Unit] = []
    taken: dict[str, int] = {}
    for number, update in enumerate(updates):
        output, loss = _output(captured, update.loss)
        names = _chosen(captured, update, slots, owned)
        for name in names:
            if taken.setdefault(name, number) != number:
                raise InputError(
                    f"update {number} ({update.loss}): parameter {name} is trained by update {taken[name]} already"
                )
        graph = captured.graph
        found = {v.name for v in reached(graph, tuple(graph.input(name) for name in names), output)}
        if not found:
            raise InputError(f"compile_step: the loss {loss or 'given'} depends on none of the parameters to train")
        units += _grouped(graph, [name for name in names if name in found], update, number, output, loss, len(units))
    return tuple(units)


def _grouped(
    graph: Graph, names: list[str], update: Update, number: int, output: int, loss: str, first: int
) -> list[Unit]:
    """One unit per group of an update's optimizer, those without a pattern first."""
    assert update.by is not None
    optimizer = update.by
    patterns = {name: optimizer.group(name, name.partition(".")[2]) for name in names}
    for pattern in optimizer.groups:
        if pattern not in patterns.values():
            raise InputError(f"compile_step: no trained parameter is called {pattern!r}; there are {', '.join(names)}")
    units: list[Unit] = []
    for pattern in sorted(set(patterns.values()), key=["", *optimizer.groups].index):
        values = [graph.input(name) for name in names if patterns[name] == pattern]
        layout = lay_out(graph, values, numbered(ARENA, first + len(units)))
        units.append(Unit(loss, output, number, first + len(units), layout, optimizer.of_group(pattern), pattern))
    return units


def _chosen(captured: Captured, update: Update, slots: Mapping[str, Slot], owned: Collection[str]) -> list[str]:
    """The parameters that an update names and that require a gradient. Raises InputError when there is none."""
    of = (update.of,) if isinstance(update.of, str) else update.of
    if of is None:
        named = [name for name in captured.parameters if name in owned]
    else:
        named = [n for n in captured.parameters if any(n.startswith(f"{p}.") or fnmatchcase(n, p) for p in of)]
    found = [name for name in named if slots[name].tensor.requires_grad]
    if not found:
        if named:
            why = "all parameters are frozen" if of is None else f"all that is called {update.of!r} is frozen"
            why += " (requires_grad=False)"
        else:
            why = "the losses read no parameter" if of is None else f"nothing is called {update.of!r}"
        known = ", ".join(captured.parameters) or "none"
        raise InputError(f"compile_step: {why}: there is nothing to train; parameters are {known}")
    return found


def _output(captured: Captured, loss: str | int | None) -> tuple[int, str]:
    """The place of a loss among the outputs, and its name. Raises InputError unless it is a scalar tensor."""
    form = captured.form
    if not form.container:
        place, name = 0, ""
        if loss is not None:
            raise InputError(f"compile_step: there is one loss, without a name; got the name {loss!r}")
    else:
        key = loss if loss is not None else 0 if form.keys and isinstance(form.keys[0], int) else "loss"
        if key not in form.keys:
            there = f"there are {', '.join(map(repr, form.keys))}" if form.keys else "there is none"
            asked = (
                "a loss must be called 'loss' where no Update names one"
                if loss is None
                else f"no loss is called {key!r}"
            )
            raise InputError(f"compile_step: {asked}; {there}")
        index = form.keys.index(key)
        place, name = sum(part.tensors for part in form.parts[:index]), str(key)
        form = form.parts[index]
    _check_scalar(captured, form, place, name)
    return place, name


def _check_scalar(captured: Captured, form: Form, place: int, name: str) -> None:
    type = captured.graph.outputs[place].type if form.tensors == 1 and not form.container else None
    if type is None or type.numel != 1 or not type.is_float:
        got = f"a tensor {list(type.shape)} of {type.dtype}" if type else str(form)
        raise InputError(f"loss {name}{' ' if name else ''}must be a tensor of one float; got {got}")
