"""What a step keeps between its calls: parameters, optimizer states, gradients that wait; one arena each per unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from tritoncnn.capture import TRACING
from tritoncnn.compiler.memory import Arena, Slot, empty_arena
from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.optim import AVERAGE, GRADIENTS, Unit


class Trained:
    """The parameters of the units, moved into arenas of which the modules' tensors become views, and their states."""

    def __init__(self, units: Sequence[Unit], slots: Mapping[str, Slot]) -> None:
        self.units = tuple(units)
        self.arenas = tuple(Arena(unit.layout, [slots[p.name] for p in unit.layout.slices]) for unit in units)
        self.states = {unit.name(what): empty_arena(unit.layout) for unit in units for what in unit.states}
        self.slots = {p.name: s for a in self.arenas for p, s in zip(a.layout.slices, a.slots, strict=True)}
        self.pending = False  # do gradients of earlier calls wait for an update?

    def settle(self) -> None:
        """Bring parameters that someone has moved or replaced back into their arenas. Raises InputError for frozen ones, and
        for two that are one tensor now."""
        if any(any(arena.away()) for arena in self.arenas):
            with TRACING:
                self._check_distinct()
                for arena in self.arenas:
                    arena.settle(arena.away())
        for name, slot in self.slots.items():
            if not slot.tensor.requires_grad:
                raise InputError(
                    f"parameter {name} was frozen (requires_grad=False) after compile_step: compile a step without it"
                )

    def _check_distinct(self) -> None:
        first: dict[int, str] = {}
        for name, slot in self.slots.items():
            other = first.setdefault(id(slot.owner.get(slot.key)), name)
            if other != name:
                raise InputError(
                    f"parameters {other} and {name} were two tensors when the step was compiled, and are one now: compile it "
                    "again"
                )

    def hold_gradients(self) -> None:
        """Make room for gradients of several calls, once they are to be added up."""
        for unit in self.units:
            if unit.name(GRADIENTS) not in self.states:
                self.states[unit.name(GRADIENTS)] = empty_arena(unit.layout)

    def held(self) -> dict[str, torch.Tensor]:
        """All arenas by the graph inputs that they are memory of."""
        return {unit.arena: arena.memory for unit, arena in zip(self.units, self.arenas, strict=True)} | self.states

    def gradients(self, packed: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Copies of the gradients by parameter: of those that wait, or else of the arenas ``packed``."""
        found = {}
        for unit, arena, memory in zip(self.units, self.arenas, packed, strict=True):
            found.update(_read(arena, self.states[unit.name(GRADIENTS)] if self.pending else memory))
        return found

    def averages(self, *, started: bool) -> dict[str, torch.Tensor]:
        """Copies of the moving averages; before the first step of the parameters. Raises InputError when none are kept."""
        if not any(unit.optimizer.ema for unit in self.units):
            raise InputError(
                f"averages: the optimizer keeps none; compile with {type(self.units[0].optimizer).__name__}(ema=0.999)"
            )
        found = {}
        for unit, arena in zip(self.units, self.arenas, strict=True):
            if unit.optimizer.ema:
                found.update(_read(arena, self.states[unit.name(AVERAGE)] if started else arena.memory))
        return found

    def state(self) -> dict[str, torch.Tensor]:
        """Copies of all states, as ``momentum_buffer.conv1.weight``."""
        return {
            f"{what}.{name}": tensor
            for unit, arena, what in self._kept(self.pending)
            for name, tensor in _read(arena, self.states[unit.name(what)]).items()
        }

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """The reverse of ``state``. Raises CheckpointError, before anything is changed, when one is missing, misshapen or of
        another optimizer."""
        pending = any(key.startswith(f"{GRADIENTS}.") for key in tensors)
        known = {f"{what}.{part.name}" for _, arena, what in self._kept(pending) for part in arena.layout.slices}
        for _, arena, what in self._kept(pending):
            for part in arena.layout.slices:
                given = tensors.get(f"{what}.{part.name}")
                if given is None or given.shape != part.type.shape or not given.is_floating_point():
                    got = "none" if given is None else f"{given.dtype} {list(given.shape)}"
                    raise CheckpointError(
                        f"optimizer state {what} of parameter {part.name!r} must be torch.float32 {list(part.type.shape)}; "
                        f"got {got}"
                    )
        for name in tensors:
            if name not in known:
                kept = ", ".join(dict.fromkeys(what for *_, what in self._kept(pending))) or "no state"
                raise CheckpointError(f"optimizer state {name!r} is not one of this optimizer, which keeps {kept}")
        if pending:
            self.hold_gradients()
        self.pending = pending
        for unit, arena, what in self._kept(pending):
            for part, view in zip(arena.layout.slices, arena.views(self.states[unit.name(what)]), strict=True):
                view.copy_(tensors[f"{what}.{part.name}"])

    def _kept(self, pending: bool) -> Iterator[tuple[Unit, Arena, str]]:
        for unit, arena in zip(self.units, self.arenas, strict=True):
            for what in (*unit.states, GRADIENTS) if pending else unit.states:
                yield unit, arena, what


def _read(arena: Arena, memory: torch.Tensor) -> dict[str, torch.Tensor]:
    """Contiguous copies out of ``memory``, which is laid out as the arena is."""
    return {
        part.name: view.clone(memory_format=torch.contiguous_format)
        for part, view in zip(arena.layout.slices, arena.views(memory), strict=True)
    }
