"""A module compiled for inference."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tritoncnn.capture import SEED, Captured
from tritoncnn.compiler.memory import Live, bump
from tritoncnn.compiler.pipeline import Planned, plan_call, plan_prepared_call
from tritoncnn.compiler.plans import Plans, input_type
from tritoncnn.compiler.subject import Arguments, Subject
from tritoncnn.errors import DTypeError, InputError
from tritoncnn.ir import TensorType
from tritoncnn.ops import TORCH_DTYPE
from tritoncnn.passes import Stage
from tritoncnn.plan import Plan
from tritoncnn.runtime import Executable, fit
from tritoncnn.tree import Form, builder, difference


class CallProgram:
    """One plan of a function over modules, with its state bound where the modules hold it."""

    def __init__(self, captured: Captured, planned: Planned, live: Live, extra: Mapping[str, torch.Tensor]) -> None:
        self.captured, self.planned, self.live = captured, planned, live
        self._types = live.types()
        arenas = {
            part.arena: torch.zeros(part.size, dtype=TORCH_DTYPE[part.dtype], device="cpu") for part in planned.prepared
        }
        constants = {name: t.detach() for name, t in captured.constants.items()}
        held = {**live.tensors(), **constants, **extra, **arenas}
        self.run = Executable(planned.plan, captured.inputs, captured.form.tensors, held)
        self.run.ready()
        self._prepare: Executable | None = None
        if planned.prepare is not None:
            outputs = {f"output {i}": arena for i, arena in enumerate(arenas.values())}
            self._prepare = Executable(planned.prepare, (), 0, {**live.tensors(), **constants, **outputs})
            self.prepare()
        self.build = builder(captured.form)
        self.changed = [live.slots[name].tensor for name in captured.updated]

        self.form = Arguments.of(()).form
        self.plain = False

    def prepare(self) -> None:
        """Compute what follows from the state alone, as it is now."""
        if self._prepare is not None:
            self._prepare.run(())
            self._versions = self.live.versions()

    def stale(self) -> bool:
        """Whether the state has moved or changed since it was prepared."""
        return self.live.moved() or (self._prepare is not None and self.live.versions() != self._versions)

    def takes(self, args: tuple[Any, ...]) -> bool:
        """Whether these are plain tensors of the planned sizes and dtypes, one per input."""
        return self.plain and len(args) == len(self.run.inputs) and all(
            isinstance(t, torch.Tensor) and (value is None or (t.shape == value.type.shape and t.dtype == dtype))
            for value, dtype, t in zip(self.run.inputs, self.run.dtypes, args, strict=True)
        )  # fmt: skip

    def fit(self, tensors: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        """The tensors as planned. Raises ShapeError, DTypeError."""
        return [t if value is None else fit(value, t) for value, t in zip(self.run.inputs, tensors, strict=True)]

    def refresh(self) -> bool:
        """Bind state that has moved; False when it lies otherwise than planned, so that a new plan is needed."""
        if not self.live.moved():
            if self.stale():
                self.prepare()
            return True
        self.live.refresh()
        if self.live.types() != self._types:
            return False
        for name, tensor in self.live.tensors().items():
            self.run.bind(name, tensor)
            if self._prepare is not None:
                self._prepare.bind(name, tensor)
        self.prepare()
        self.changed = [self.live.slots[name].tensor for name in self.captured.updated]
        return True


class CompiledModel:
    """``model(*inputs)`` -> the module's result, in its own nesting, computed by one native call.

    It reads the module's own parameters: what changes them (a step, ``load_state_dict``, an optimizer of torch) shows in the
    next call. What follows from them alone is kept until torch's version counters say that they have changed; writes that
    these do not see (through ``.data`` or numpy) need ``refresh()``.
    Inputs of other sizes get a plan of their own when they first come; the last eight are kept.
    """

    def __init__(self, subject: Subject, signature: inspect.Signature | None, *, prepared: bool = True) -> None:
        self._subject, self._prepared = subject, prepared
        self._signature = signature
        self._plans: Plans[CallProgram] = Plans(self._make, subject.input_names)
        self._example: Arguments | None = None
        self._last: CallProgram | None = None
        self._seed = torch.zeros((), dtype=torch.int64, device="cpu")

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Make the plan for inputs like these now."""
        self._last = self._program(self._arguments(args, kwargs))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raises InputError, ShapeError or DTypeError when an input is not like the example."""
        with self._subject.locks:
            program = self._last
            if program is None or kwargs or not program.takes(args):
                arguments = self._arguments(args, kwargs)
                program, tensors = self._program(arguments), arguments.tensors
            else:  # as the call before: the short way
                tensors = args
                if program.stale():
                    program = self._program(Arguments.of(args))
            if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
                raise InputError(
                    "an input requires a gradient, and a compiled model gives none: use tritoncnn.compile_grad, or call it "
                    "under torch.no_grad()"
                )
            if program.captured.random:
                self._seed.random_()
            results = program.run.run(program.fit(tensors))
            if program.changed:
                bump(program.changed)
        return program.build(results)

    def _arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        if kwargs and self._signature is not None:  # one form, however the inputs are named
            try:
                bound = self._signature.bind(*args, **kwargs)
            except TypeError as error:
                raise InputError(f"{self._subject.title}: {error}") from None
            args, kwargs = bound.args, bound.kwargs
        return Arguments.of(args, kwargs)

    def _program(self, arguments: Arguments) -> CallProgram:
        if self._example is not None:
            self._check(self._example, arguments)
        program = self._plans.get(arguments)
        while not program.refresh():
            self._plans.drop(arguments)
            program = self._plans.get(arguments)
        self._example = self._example or arguments.like()
        self._last = program
        return program

    def _check(self, example: Arguments, given: Arguments) -> None:
        if example.form != given.form:
            wanted, got = example.form.parts, given.form.parts
            raise InputError(difference(wanted[0], got[0], "inputs") or difference(wanted[1], got[1]))
        for name, a, b in zip(self._subject.input_names(given.form), example.tensors, given.tensors, strict=True):
            if a.dtype != b.dtype:
                raise DTypeError(f"input {name} must be {a.dtype}, as in the example; got {b.dtype} {list(b.shape)}")

    @classmethod
    def of(
        cls,
        subject: Subject,
        captured: Captured,
        form: Form,
        types: Mapping[str, TensorType],
        signature: inspect.Signature,
    ) -> CompiledModel:
        """A model of a graph that was captured before, for arguments of ``form`` whose tensors lie as ``types`` say."""
        model = cls(subject, signature)
        tensors = (
            torch.empty_strided(t.shape, t.strides, dtype=TORCH_DTYPE[t.dtype], device="meta")
            if (t := types.get(name)) is not None else torch.empty((), device="meta")
            for name in captured.inputs
        )  # fmt: skip
        arguments = Arguments(tuple(tensors), form)
        model._last = model._planned(captured, arguments)
        model._example = arguments
        model._plans.put(model._last, arguments)
        return model

    def _make(self, arguments: Arguments) -> CallProgram:
        return self._planned(self._subject.capture(arguments, gradients=False), arguments)

    def _planned(self, captured: Captured, arguments: Arguments) -> CallProgram:
        slots = self._subject.slots()
        live = Live({name: slots[captured.state_name(name)] for name in captured.tensors})
        types = live.types() | {name: input_type(t) for name, t in zip(captured.inputs, arguments.tensors, strict=True)}
        extra = {SEED: self._seed} if captured.random else {}
        plan = plan_prepared_call if self._prepared else plan_call
        program = CallProgram(captured, plan(captured, types), live, extra)
        program.form, program.plain = arguments.form, arguments.plain
        return program

    def refresh(self) -> None:
        """Take in changes of the parameters that torch's version counters do not see, as those through ``.data``."""
        with self._subject.locks:
            if self._last is not None:
                self._last.prepare()
            self._plans.clear(self._last)

    @property
    def plan(self) -> Plan:
        """The launches of the last call, or of the example. ``print(model.plan)``: one line a launch."""
        return self.last().planned.plan

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The graph after every stage of the compiler."""
        return self.last().planned.stages

    @property
    def subject(self) -> Subject:
        """What is compiled."""
        return self._subject

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the positional inputs."""
        return self._subject.names

    @property
    def title(self) -> str:
        """The name of what is compiled."""
        return self._subject.title

    def last(self) -> CallProgram:
        """The program of the last call, or of the example. Raises InputError before the first."""
        if self._last is None:
            raise InputError("nothing is compiled yet: call the model once, or compile it with an example")
        return self._last

    def save(self, path: str | Path) -> None:
        """Write graph and state to one file that ``tritoncnn.load`` reads, without the module's class or torch.export.

        It takes inputs of the last call's sizes. Raises SaveError, InputError.
        """
        from tritoncnn.compiler.saved import save

        save(self, path)

    def __reduce__(self) -> Any:
        """Pickles and deep copies hold what a file does: graph and state."""
        from tritoncnn.compiler.saved import dumps, loads

        return loads, (dumps(self),)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Copies of the module's parameters and buffers, under its names."""
        with self._subject.locks:
            return {
                name: t.detach().clone(memory_format=torch.contiguous_format)
                for name, t in self._subject.state().items()
            }

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Set all parameters and buffers, those of the module itself. Raises CheckpointError, before anything is changed,
        when one is missing or misshapen."""
        self._subject.load(state)
