"""A module compiled for inference."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tritoncnn.atomic import write_file
from tritoncnn.capture import SEED, Captured, argument_names
from tritoncnn.compiler.memory import Live, bump
from tritoncnn.compiler.pipeline import plan_call, plan_prepared_call
from tritoncnn.compiler.program import CallProgram
from tritoncnn.compiler.programs import Programs, input_type
from tritoncnn.compiler.saved import Saved, dumps, loads, reading
from tritoncnn.compiler.subject import Arguments, Subject, call_of
from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.ops import TORCH_DTYPE
from tritoncnn.passes import Stage
from tritoncnn.plan import Plan

_REQUIRES_GRAD: Callable[[torch.Tensor], bool] = torch.Tensor.requires_grad.__get__  # type: ignore[attr-defined]


class CompiledModel:
    """``model(*inputs)`` -> the module's result, in its own nesting, computed by one native call.

    It reads the module's own parameters: what changes them (a step, ``load_state_dict``, an optimizer of torch) shows in the
    next call. What follows from them alone is kept until torch's version counters say that they have changed; writes that
    these do not see (through ``.data`` or numpy) need ``refresh()``.
    Inputs of other sizes get a plan of their own when they first come; the last eight are kept.
    """

    @torch.inference_mode(False)  # what it makes outlives the caller's mode
    def __init__(self, subject: Subject, signature: inspect.Signature | None, *, prepared: bool = True) -> None:
        self._subject, self._prepared = subject, prepared
        self._signature = signature
        self._programs: Programs[CallProgram] = Programs(subject, self._make)
        self._seed = torch.zeros((), dtype=torch.int64, device="cpu")

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Make the plan for inputs like these now."""
        self._programs.find(*self._bound(args, kwargs))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raises InputError, ShapeError or DTypeError when an input is not like the example."""
        return self._call(args, kwargs, 1)

    def repeat(self, times: int, *args: Any, **kwargs: Any) -> Any:
        """Call the model so many ``times``, one after the other, by one native call: the last result.

        What goes on from call to call is what the module keeps in buffers. Raises InputError also for fewer than 1 time, and
        for a model that draws random numbers, which would be the same each time.
        """
        if isinstance(times, bool) or not isinstance(times, int) or times < 1:
            raise InputError(f"repeat: times must be a whole number of at least 1; got {times!r}")
        return self._call(args, kwargs, times)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], times: int) -> Any:
        if kwargs:
            args, kwargs = self._bound(args, kwargs)
        with self._subject.locks:
            program, tensors = self._programs.find(args, kwargs)
            if torch.is_grad_enabled() and any(map(_REQUIRES_GRAD, tensors)):
                raise InputError(
                    "an input requires a gradient, and a compiled model gives none: use tritoncnn.compile_grad, or call it "
                    "under torch.no_grad()"
                )
            if program.captured.random:
                if times > 1:
                    raise InputError(
                        f"repeat: {self._subject.title} draws random numbers, which would be the same each time"
                    )
                self._seed.random_()
            results = program.run.run(tensors, times)
            if program.changed:
                bump(program.changed)
        return program.build(results)

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """One form, however the inputs are named."""
        if not kwargs or self._signature is None:
            return args, kwargs
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InputError(f"{self._subject.title}: {error}") from None
        return bound.args, bound.kwargs

    @classmethod
    def of(cls, saved: Saved) -> CompiledModel:
        """A model of a graph that was captured before."""
        model = cls(saved.subject, saved.signature)
        tensors = (
            torch.empty_strided(t.shape, t.strides, dtype=TORCH_DTYPE[t.dtype], device="meta")
            if (t := saved.types.get(name)) is not None else torch.empty((), device="meta")
            for name in saved.captured.inputs
        )  # fmt: skip
        arguments = Arguments(tuple(tensors), saved.form)
        model._programs.put(model._planned(saved.captured, arguments), arguments)
        return model

    def _make(self, arguments: Arguments) -> CallProgram:
        return self._planned(self._subject.capture(arguments, gradients=False), arguments)

    def _planned(self, captured: Captured, arguments: Arguments) -> CallProgram:
        slots = self._subject.slots()
        live = Live({name: slots[captured.state_name(name)] for name in captured.tensors})
        types = live.types() | {name: input_type(t) for name, t in zip(captured.inputs, arguments.tensors, strict=True)}
        extra = {SEED: self._seed} if captured.random else {}
        plan = plan_prepared_call if self._prepared else plan_call
        return CallProgram(captured, plan(captured, types), live, extra, arguments)

    def refresh(self) -> None:
        """Take in changes of the parameters that torch's version counters do not see, as those through ``.data``."""
        with self._subject.locks:
            if self._programs.last is not None:
                self._programs.last.prepare()
            self._programs.keep_last()

    @property
    def plan(self) -> Plan:
        """The launches of the last call, or of the example. ``print(model.plan)``: one line a launch."""
        return self.last().planned.plan

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The graph after every stage of the compiler."""
        return self.last().planned.stages

    def last(self) -> CallProgram:
        """The program of the last call, or of the example. Raises InputError before the first."""
        if self._programs.last is None:
            raise InputError("nothing is compiled yet: call the model once, or compile it with an example")
        return self._programs.last

    def save(self, path: str | Path) -> None:
        """Write graph and state to one file that ``tritoncnn.load`` reads, without the module's class or torch.export.

        It takes inputs of the last call's sizes. Raises SaveError, InputError.
        """
        write_file(_path(path), dumps(self._subject, self.last()))

    def __reduce__(self) -> Any:
        """Pickles and deep copies hold what a file does: graph and state."""
        return _read, (dumps(self._subject, self.last()),)

    def state_dict(self) -> dict[str, Any]:
        """Copies of the module's parameters and buffers, under its names."""
        return self._subject.copied_state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set all parameters and buffers, those of the module itself. Raises CheckpointError, before anything is changed,
        when one is missing or misshapen."""
        self._subject.load(state)


def compile_module(module: torch.nn.Module, example: Any, *, prepared: bool = True) -> CompiledModel:
    """Compile what is known to be a module for inference, in the mode that it and its parts are in.

    ``prepared``: what follows from parameters alone is computed once.
    """
    subject = _module_subject(module)
    model = CompiledModel(subject, inspect.signature(module.forward), prepared=prepared)
    if example is not None:
        args, kwargs = call_of(example)
        argument_names(module, len(args))
        model.prepare(*args, **kwargs)
    return model


def _module_subject(module: torch.nn.Module) -> Subject:
    names = [p.name for p in inspect.signature(module.forward).parameters.values() if p.kind is not p.VAR_POSITIONAL]
    return Subject(type(module).__name__, {"module": module}, lambda *a, **k: module(*a, **k), names, prefix="module.")


def load(path: str | Path) -> CompiledModel:
    """Read what ``CompiledModel.save`` wrote. Raises CheckpointError for a file that is no such model, or damaged."""
    path = _path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} could not be read ({error.strerror or error})") from error
    return _read(data, str(path))


def _path(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"the path of a model's file must be text or a Path; got {path!r:.60}")
    return Path(path)


def _read(data: bytes, name: str = "the data") -> CompiledModel:
    """The model in a file's or a pickle's bytes. Raises CheckpointError."""
    with reading(name), torch.inference_mode(False):  # the model outlives the caller's mode
        return CompiledModel.of(loads(data, name))
