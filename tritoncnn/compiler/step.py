"""A training step: forward, losses, backward and optimizers as one plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from tritoncnn.capture import SEED, Captured
from tritoncnn.compiler.memory import Live, bump, check_apart
from tritoncnn.compiler.model import CompiledModel, compile_module
from tritoncnn.compiler.pipeline import plan_step
from tritoncnn.compiler.program import CallProgram
from tritoncnn.compiler.programs import Programs, input_type
from tritoncnn.compiler.rates import Rates, rate_of
from tritoncnn.compiler.subject import Arguments, Subject
from tritoncnn.compiler.trained import Trained
from tritoncnn.compiler.units import Update, units_of
from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.ops import OPS
from tritoncnn.passes import Stage
from tritoncnn.plan import Plan


class StepProgram(CallProgram):
    """One plan of a step: for batches of one size, and one way of adding up gradients."""

    def packed(self) -> list[torch.Tensor]:
        """The memory into which the plan writes gradients, by unit."""
        packs = [node.result for node in self.planned.plan.graph.nodes if OPS[node.op].packs]
        return [self.run.buffers[f"pack {value.name}"].view(torch.float32) for value in packs]


class CompiledStep:
    """``step(*batch)`` -> what the losses gave, in its own nesting; parameters and optimizer state are updated in place.

    The parameters are the modules' own: ``module(x)``, ``state_dict()`` and other programs of the same modules see them.
    Batches of other sizes get a plan of their own when they first come; the last eight are kept.
    """

    def __init__(self, subject: Subject, updates: Sequence[Update], owned: Collection[str], example: Arguments,
                 spread: Callable[..., tuple[Any, ...]], seed: int | None) -> None:  # fmt: skip
        """``owned``: parameters that an update trains which names none. ``spread``: a call's batch -> arguments."""
        self._subject, self._spread = subject, spread
        self.updates = tuple(updates)
        self._programs: Programs[StepProgram] = Programs(subject, self._make, "batch", example)
        drawn = torch.randint(2**62, (), dtype=torch.int64, device="cpu") if seed is None else seed
        self._first_seed = torch.as_tensor(drawn, dtype=torch.int64, device="cpu")
        self._seed = torch.zeros((), dtype=torch.int64, device="cpu")
        self._step = torch.zeros((), dtype=torch.int64, device="cpu")
        self._calls = 0
        captured = subject.capture(example, gradients=True)
        self._random = captured.random
        slots = subject.slots()
        self._units = units_of(captured, self.updates, slots, owned)
        check_apart(slots, {part.name for unit in self._units for part in unit.layout.slices})
        self._trained = Trained(self._units, slots)
        self._rates = [torch.tensor(u.optimizer.lr, dtype=torch.float32, device="cpu") for u in self._units]  # type: ignore[attr-defined]
        self.optimizers = tuple(
            Rates([unit for unit in self._units if unit.update == number]) for number in range(len(self.updates))
        )
        self._set = [u.optimizer.lr for u in self._units]  # type: ignore[attr-defined]
        self._programs.put(self._plan(captured, example, False, True), example, False, True)

    def __call__(self, *batch: Any, update: bool = True) -> Any:
        """One step. With ``update=False`` the gradients are kept, and the next call adds its own to them.

        Raises InputError, ShapeError or DTypeError when the batch is not like the example; nothing has changed then.
        """
        with self._subject.locks:
            self._trained.settle()
            program, tensors = self._programs.find(self._spread(*batch), {}, self._trained.pending, update)
            self._set_rates()
            if program.captured.random:
                self._seed.copy_(self._first_seed + self._calls)
            results = program.run.run(tensors)
            self._calls += 1
            self._trained.pending = not update
            bump(
                [*program.changed, *(slot.tensor for slot in self._trained.slots.values())]
                if update
                else program.changed
            )
        return program.build(results)

    def _set_rates(self) -> None:
        """Hand the kernels the learning rates that have been set since the last step. Raises InputError for one that is none."""
        now = [rate_of(group["lr"]) for optimizer in self.optimizers for group in optimizer.param_groups]
        if now == self._set:
            return
        for rate, lr in zip(self._rates, now, strict=True):
            rate.fill_(lr)
        self._set = now

    def _make(self, arguments: Arguments, pending: bool, update: bool) -> StepProgram:
        return self._plan(self._subject.capture(arguments, gradients=True), arguments, pending, update)

    def _plan(self, captured: Captured, arguments: Arguments, pending: bool, update: bool) -> StepProgram:
        slots = self._subject.slots()
        live = Live(
            {name: slots[captured.state_name(name)] for name in captured.tensors if name not in self._trained.slots}
        )
        types = live.types() | {name: input_type(t) for name, t in zip(captured.inputs, arguments.tensors, strict=True)}
        planned = plan_step(captured, types, self._units, pending=pending, update=update)
        if pending or not update:
            self._trained.hold_gradients()
        rates = {unit.name("lr"): rate for unit, rate in zip(self._units, self._rates, strict=True)}
        return StepProgram(
            captured, planned, live, self._trained.held() | rates | {"step": self._step, SEED: self._seed}, arguments
        )

    def _last(self) -> StepProgram:
        assert self._programs.last is not None  # the example's is made at once
        return self._programs.last

    @property
    def plan(self) -> Plan:
        """The launches of the last call, or of the example. ``print(step.plan)``: one line a launch."""
        return self._last().planned.plan

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The graph after every stage of the compiler."""
        return self._last().planned.stages

    @property
    def optimizer(self) -> Rates:
        """The learning rates, for torch's schedulers, of a step with one update. Raises InputError when there are several."""
        if len(self.optimizers) != 1:
            raise InputError(f"this step has {len(self.optimizers)} updates: step.optimizers[0] is that of the first")
        return self.optimizers[0]

    @property
    def lr(self) -> float:
        """The learning rate of the next step; set it at any time. Groups with a rate of their own keep their ratio to it.

        A tensor is read at every step by those groups that have its rate; for others its number now counts.
        """
        return rate_of(self.optimizer.param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float | torch.Tensor) -> None:
        rate = rate_of(value)
        groups = self.optimizer.param_groups
        first, base = self.lr, self._units[0].optimizer.lr  # type: ignore[attr-defined]
        for group, unit in zip(groups, self._units, strict=True):
            ratio = unit.optimizer.lr / base if base else rate_of(group["lr"]) / first if first else 1.0  # type: ignore[attr-defined]
            group["lr"] = value if ratio == 1.0 and isinstance(value, torch.Tensor) else rate * ratio

    def gradients(self) -> dict[str, torch.Tensor]:
        """Copies of the gradients of the last call by parameter name; of all calls since the last update, where the last one
        did not update. They are those before clipping."""
        return self._trained.gradients(self._last().packed())

    def state_dict(self) -> dict[str, Any]:
        """Copies of the modules' parameters and buffers, under their names."""
        return self._subject.copied_state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set all parameters and buffers. Raises CheckpointError, before anything is changed, when one is missing or
        misshapen."""
        self._subject.load(state)

    def averages(self) -> dict[str, torch.Tensor]:
        """Copies of the parameters' moving averages, named as in ``state_dict``; before the first step the parameters.

        Raises InputError when no optimizer keeps any.
        """
        return self._trained.averages(started=bool(self._step))

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        """Copies: ``step`` (i64), each state tensor as ``momentum_buffer.conv1.weight`` and so on; where random numbers are drawn
        ``seed`` and ``calls``; gradients that wait for an update."""
        found = {"step": self._step.clone()}
        if self._random:
            found |= {SEED: self._first_seed.clone(), "calls": torch.tensor(self._calls)}
        return found | self._trained.state()

    def load_optimizer_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """The reverse of ``optimizer_state``. Raises CheckpointError, before anything is changed, when a tensor is missing or
        misshapen."""
        if not isinstance(tensors, Mapping):
            raise CheckpointError(f"an optimizer state must map names to tensors; got {type(tensors).__name__}")
        for name in ("step", SEED, "calls") if self._random else ("step",):
            given = tensors.get(name)
            if given is None or given.numel() != 1 or given.is_floating_point():
                raise CheckpointError(f"optimizer state {name!r} must be one whole number; it is missing or misshapen")
            if int(given) < 0:
                raise CheckpointError(f"optimizer state {name!r} must be a whole number from 0; got {int(given)}")
        with self._subject.locks:
            self._trained.load({name: t for name, t in tensors.items() if name not in ("step", SEED, "calls")})
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
