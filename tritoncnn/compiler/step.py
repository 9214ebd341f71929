"""A training step: forward, losses, backward and optimizers as one plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch

from tritoncnn.autodiff import reached
from tritoncnn.capture import SEED, Captured
from tritoncnn.compiler.memory import Arena, Live, Slot, bump, empty_arena
from tritoncnn.compiler.model import CallProgram, CompiledModel
from tritoncnn.compiler.pipeline import plan_step
from tritoncnn.compiler.plans import Plans, input_type
from tritoncnn.compiler.subject import Arguments, Subject
from tritoncnn.errors import CheckpointError, DTypeError, InputError
from tritoncnn.ir import Graph
from tritoncnn.ops import OPS
from tritoncnn.optim import AVERAGE, GRADIENTS, Optimizer, Unit, numbered
from tritoncnn.passes import Stage
from tritoncnn.passes.pack_parameters import ARENA, lay_out
from tritoncnn.plan import Plan
from tritoncnn.tree import Form, difference


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


class Rates(torch.optim.Optimizer):
    """The learning rates of one update as torch's schedulers know them: ``CosineAnnealingLR(step.optimizer, 10)``.

    One parameter group per group of the update; ``lr`` of each is read before every step.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        groups = [{"params": [torch.zeros((), device="cpu")], "lr": u.optimizer.lr, "name": u.pattern} for u in units]  # type: ignore[attr-defined]
        super().__init__(groups, {"lr": 0.0})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Nothing: the compiled step moves the parameters. Schedulers watch that it is called."""


class StepProgram(CallProgram):
    """One plan of a step: for batches of one size, and one way of adding up gradients."""

    gradients: tuple[torch.Tensor, ...] = ()


class CompiledStep:
    """``step(*batch)`` -> what the losses gave, in its own nesting; parameters and optimizer state are updated in place.

    The parameters are the modules' own: ``module(x)``, ``state_dict()`` and other programs of the same modules see them.
    Batches of other sizes get a plan of their own when they first come; the last eight are kept.
    """

    def __init__(
        self, subject: Subject, updates: Sequence[Update], example: Arguments, spread: Callable[..., Arguments], seed: int | None
    ) -> None:  # fmt: skip
        self._subject, self._spread = subject, spread
        self.updates = tuple(updates)
        self._plans: Plans[StepProgram] = Plans(self._make, subject.input_names)
        self._example = example.like()
        drawn = torch.randint(2**62, (), dtype=torch.int64, device="cpu") if seed is None else seed
        self._first_seed = torch.as_tensor(drawn, dtype=torch.int64, device="cpu")
        self._seed = torch.zeros((), dtype=torch.int64, device="cpu")
        self._step = torch.zeros((), dtype=torch.int64, device="cpu")
        self._calls = 0
        self._pending = False
        captured = subject.capture(example, gradients=True)
        self._random = captured.random
        slots = subject.slots()
        self._units = _units(captured, self.updates, slots)
        self._arenas = [Arena(unit.layout, [slots[p.name] for p in unit.layout.slices]) for unit in self._units]
        self._states = {
            unit.name(what): empty_arena(unit.layout) for unit in self._units for what in (*unit.states, GRADIENTS)
        }
        self._rates = [torch.tensor(u.optimizer.lr, dtype=torch.float32, device="cpu") for u in self._units]  # type: ignore[attr-defined]
        self.optimizers = tuple(
            Rates([unit for unit in self._units if unit.update == number]) for number in range(len(self.updates))
        )
        self._set = [u.optimizer.lr for u in self._units]  # type: ignore[attr-defined]
        self._trained = {p.name: s for a in self._arenas for p, s in zip(a.layout.slices, a.slots, strict=True)}
        self._last = self._plan(captured, example, False, True)
        self._plans.put(self._last, example, False, True)

    def __call__(self, *batch: Any, update: bool = True) -> Any:
        """One step. With ``update=False`` the gradients are kept, and the next call adds its own to them.

        Raises InputError, ShapeError or DTypeError when the batch is not like the example; nothing has changed then.
        """
        arguments = self._spread(*batch)
        self._check(arguments)
        rates = self._read_rates()
        with self._subject.locks:
            for arena in self._arenas:
                arena.settle()
            program = self._plans.get(arguments, self._pending, update)
            while not program.refresh():
                self._plans.drop(arguments, self._pending, update)
                program = self._plans.get(arguments, self._pending, update)
            tensors = program.fit(arguments.tensors)
            for rate, value in rates:
                rate.fill_(value)
            if program.captured.random:
                self._seed.copy_(self._first_seed + self._calls)
            results = program.run.run(tensors)
            self._calls += 1
            self._pending = not update
            self._last = program
            bump([*program.changed, *(slot.tensor for slot in self._trained.values())] if update else program.changed)
        return program.build(results)

    def _check(self, arguments: Arguments) -> None:
        example = self._example
        if arguments.form != example.form:
            raise InputError(difference(example.form.parts[0], arguments.form.parts[0], "batch"))
        for name, a, b in zip(self._subject.input_names(example.form), example.tensors, arguments.tensors, strict=True):
            if a.dtype != b.dtype:
                raise DTypeError(f"input {name} must be {a.dtype}, as in the example; got {b.dtype} {list(b.shape)}")

    def _read_rates(self) -> list[tuple[torch.Tensor, float]]:
        """Learning rates that have been set since the last step. Raises InputError for one that is none."""
        now = [group["lr"] for optimizer in self.optimizers for group in optimizer.param_groups]
        if now == self._set:
            return []
        for lr in now:
            _check_rate(lr)
        self._set = now
        return list(zip(self._rates, now, strict=True))

    def _make(self, arguments: Arguments, pending: bool, update: bool) -> StepProgram:
        return self._plan(self._subject.capture(arguments, gradients=True), arguments, pending, update)

    def _plan(self, captured: Captured, arguments: Arguments, pending: bool, update: bool) -> StepProgram:
        slots = self._subject.slots()
        live = Live({name: slots[captured.state_name(name)] for name in captured.tensors if name not in self._trained})
        types = live.types() | {name: input_type(t) for name, t in zip(captured.inputs, arguments.tensors, strict=True)}
        planned = plan_step(captured, types, self._units, pending=pending, update=update)
        held = {unit.arena: arena.memory for unit, arena in zip(self._units, self._arenas, strict=True)}
        held |= {**self._states, "step": self._step, SEED: self._seed}
        held |= {unit.name("lr"): rate for unit, rate in zip(self._units, self._rates, strict=True)}
        return StepProgram(captured, planned, live, {name: t for name, t in held.items() if t is not None})

    @property
    def plan(self) -> Plan:
        """The launches of the last call, or of the example. ``print(step.plan)``: one line a launch."""
        return self._last.planned.plan

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The graph after every stage of the compiler."""
        return self._last.planned.stages

    @property
    def optimizer(self) -> Rates:
        """The learning rates, for torch's schedulers, of a step with one update. Raises InputError when there are several."""
        if len(self.optimizers) != 1:
            raise InputError(f"this step has {len(self.optimizers)} updates: step.optimizers[0] is that of the first")
        return self.optimizers[0]

    @property
    def lr(self) -> float:
        """The learning rate of the next step; set it at any time. Groups with a rate of their own keep their ratio to it."""
        return float(self.optimizer.param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        _check_rate(value)
        groups = self.optimizer.param_groups
        first, base = groups[0]["lr"], self._units[0].optimizer.lr  # type: ignore[attr-defined]
        for group, unit in zip(groups, self._units, strict=True):
            ratio = unit.optimizer.lr / base if base else group["lr"] / first if first else 1.0  # type: ignore[attr-defined]
            group["lr"] = float(value) * ratio

    def gradients(self) -> dict[str, torch.Tensor]:
        """Copies of the gradients of the last call by parameter name; of all calls since the last update, where the last one
        did not update. They are those before clipping."""
        found = {}
        for unit, arena in zip(self._units, self._arenas, strict=True):
            memory = self._states[unit.name(GRADIENTS)] if self._pending else self._packed(unit)
            found.update(_read(arena, memory))
        return found

    def _packed(self, unit: Unit) -> torch.Tensor:
        """The memory into which the last plan wrote the unit's gradients."""
        packs = [node.result for node in self._last.planned.plan.graph.nodes if OPS[node.op].packs]
        raw = self._last.run.buffers[f"pack {packs[unit.number].name}"]
        return raw.view(torch.float32)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Copies of the modules' parameters and buffers, under their names."""
        with self._subject.locks:
            return {
                n: t.detach().clone(memory_format=torch.contiguous_format) for n, t in self._subject.state().items()
            }

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Set all parameters and buffers. Raises CheckpointError, before anything is changed, when one is missing or
        misshapen."""
        self._subject.load(state)

    def averages(self) -> dict[str, torch.Tensor]:
        """Copies of the parameters' moving averages, named as in ``state_dict``; before the first step the parameters.

        Raises InputError when no optimizer keeps any.
        """
        if not any(unit.optimizer.ema for unit in self._units):
            raise InputError(
                f"averages: the optimizer keeps none; compile with {type(self._units[0].optimizer).__name__}(ema=0.999)"
            )
        found = {}
        for unit, arena in zip(self._units, self._arenas, strict=True):
            if unit.optimizer.ema:
                memory = self._states[unit.name(AVERAGE)] if int(self._step) else arena.memory
                assert memory is not None
                found.update(_read(arena, memory))
        return found

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        """Copies: ``step`` (i64), each state tensor as ``momentum_buffer.conv1.weight`` and so on; where random numbers are drawn
        ``seed`` and ``calls``; gradients that wait for an update."""
        found = {"step": self._step.clone()}
        if self._random:
            found |= {SEED: self._first_seed.clone(), "calls": torch.tensor(self._calls)}
        for unit, arena, what in self._kept():
            memory = self._states[unit.name(what)]
            found.update({f"{what}.{name}": tensor for name, tensor in _read(arena, memory).items()})
        return found

    def _kept(self) -> list[tuple[Unit, Arena, str]]:
        further = (GRADIENTS,) if self._pending else ()
        return [
            (unit, arena, what)
            for unit, arena in zip(self._units, self._arenas, strict=True)
            for what in (*unit.states, *further)
        ]

    def load_optimizer_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """The reverse of ``optimizer_state``. Raises CheckpointError, before anything is changed, when a tensor is missing or
        misshapen."""
        for name in ("step", SEED) if self._random else ("step",):
            if name not in tensors or tensors[name].numel() != 1:
                raise CheckpointError(f"optimizer state {name!r} must be one whole number; it is missing or misshapen")
        self._pending = any(key.startswith(f"{GRADIENTS}.") for key in tensors)
        parts = []
        for unit, arena, what in self._kept():
            for part, view in zip(arena.layout.slices, arena.views(self._states[unit.name(what)]), strict=True):
                given = tensors.get(f"{what}.{part.name}")
                if given is None or given.shape != view.shape or not given.is_floating_point():
                    got = "none" if given is None else f"{given.dtype} {list(given.shape)}"
                    raise CheckpointError(
                        f"optimizer state {what} of parameter {part.name!r} must be torch.float32 {list(view.shape)}; got {got}"
                    )
                parts.append((view, given))
        with self._subject.locks:
            for view, given in parts:
                view.copy_(given)
            self._step.copy_(tensors["step"].reshape(()))
            self._calls = int(tensors.get("calls", tensors["step"]))
            if self._random:
                self._first_seed.copy_(tensors[SEED].reshape(()))

    def __reduce__(self) -> Any:
        raise InputError(
            "a compiled step cannot be pickled or deep-copied, for it holds your code: keep step.state_dict() and "
            "step.optimizer_state(), and compile the step again"
        )

    def model(self, net: str = "", example: Any = None, *, train: bool = False) -> CompiledModel:
        """An inference plan of one of the nets, on the same parameters; in eval mode unless ``train``.

        ``example``: its input, a tuple of them, or None to take those of the first call. Raises InputError for an unknown net.
        """
        from tritoncnn.compiler.front import compile_module

        nets = {name: m for name, m in self._subject.nets.items() if name not in self._subject.hidden}
        if not net and len(nets) == 1:
            net = next(iter(nets))
        if net not in nets:
            raise InputError(f"step.model: net must be one of {', '.join(nets)}; got {net!r}")
        module = nets[net]
        before = [(part, part.training) for part in module.modules()]
        try:
            module.train(train)
            return compile_module(module, example, prepared=False)
        finally:
            for part, training in before:
                part.training = training


def _read(arena: Arena, memory: torch.Tensor) -> dict[str, torch.Tensor]:
    """Contiguous copies out of ``memory``, which is laid out as the arena is."""
    return {
        part.name: view.clone(memory_format=torch.contiguous_format)
        for part, view in zip(arena.layout.slices, arena.views(memory), strict=True)
    }


def _check_rate(lr: Any) -> None:
    if isinstance(lr, bool) or not isinstance(lr, (int, float)) or not (math.isfinite(lr) and lr >= 0):
        raise InputError(f"lr must be a finite number from 0; got {lr!r}")


def _units(captured: Captured, updates: Sequence[Update], slots: Mapping[str, Slot]) -> tuple[Unit, ...]:
    """Which parameters share an arena: those that the loss of one update reaches, by group. Raises InputError."""
    units: list[Unit] = []
    taken: dict[str, int] = {}
    for number, update in enumerate(updates):
        output, loss = _output(captured, update.loss)
        names = _chosen(captured, update.of, slots)
        for name in names:
            if taken.setdefault(name, number) != number:
                raise InputError(
                    f"update {number} ({update.loss}): parameter {name} is trained by update {taken[name]} already"
                )
        if not names:
            wanted = (
                "all parameters are frozen (requires_grad=False)"
                if update.of is None
                else f"nothing is called {update.of!r}"
            )
            raise InputError(
                f"compile_step: {wanted}: there is nothing to train; parameters are {', '.join(captured.parameters)}"
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


def _chosen(captured: Captured, of: str | Sequence[str] | None, slots: Mapping[str, Slot]) -> list[str]:
    """The parameters that an update names, and that require a gradient."""
    patterns = [of] if isinstance(of, str) else of
    found = []
    for name in captured.parameters:
        named = patterns is None or any(name.startswith(f"{p}.") or fnmatchcase(name, p) for p in patterns)
        if named and slots[name].tensor.requires_grad:
            found.append(name)
    return found


def _output(captured: Captured, loss: str | int | None) -> tuple[int, str]:
    """The place of a loss among the outputs, and its name. Raises InputError unless it is a scalar tensor."""
    form = captured.form
    if not form.container:
        place, name = 0, ""
        if loss is not None:
            raise InputError(f"compile_step: there is one loss, without a name; got the name {loss!r}")
    else:
        key = loss if loss is not None else 0 if isinstance(form.keys[0], int) else "loss"
        if key not in form.keys:
            raise InputError(f"compile_step: the losses are {', '.join(map(repr, form.keys))}; got {key!r}")
        index = form.keys.index(key)
        place, name = sum(part.tensors for part in form.parts[:index]), str(key)
        form = form.parts[index]
    _check_scalar(captured, form, place, name)
    return place, name


def _check_scalar(captured: Captured, form: Form, place: int, name: str) -> None:
    type = captured.graph.outputs[place].type if form.tensors == 1 and not form.container else None
    if type is None or type.numel != 1 or not type.is_float:
        got = f"a tensor {list(type.shape)} of {type.dtype}" if type else str(form)
        raise InputError(f"loss {name}{' ' if name else ''}must be one 0-d tensor; got {got}")
