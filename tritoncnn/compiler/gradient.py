"""Gradients without an update: of a loss with respect to inputs (adversarial examples, dreaming, style) or parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch

from tritoncnn.capture import SEED, Captured
from tritoncnn.compiler.memory import Live
from tritoncnn.compiler.pipeline import Planned, plan_gradient
from tritoncnn.compiler.program import CallProgram
from tritoncnn.compiler.programs import Programs, input_type
from tritoncnn.compiler.subject import Arguments, Subject
from tritoncnn.errors import InputError, ShapeError
from tritoncnn.ir import Graph, TensorType
from tritoncnn.ops import TORCH_DTYPE
from tritoncnn.passes import Stage
from tritoncnn.plan import Plan
from tritoncnn.runtime import readable


class GradientProgram(CallProgram):
    """One plan of a function and its gradients.

    ``seed``: the type of the cotangent that the plan reads, or None where the result ``first`` is one number: the gradients
    are then those of that number.
    """

    def __init__(self, captured: Captured, planned: Planned, live: Live, extra: Mapping[str, torch.Tensor],
                 arguments: Arguments, first: TensorType, seed: TensorType | None,
                 count: int) -> None:  # fmt: skip
        more = () if seed is None else ("dy0",)
        super().__init__(captured, planned, live, extra, arguments, more_inputs=more, more_results=count)
        self.first, self.seed = first, seed


class CompiledGradient:
    """``grad(*inputs)`` -> (the function's result, gradients of its first tensor).

    It reads the modules' own parameters. Inputs of other sizes get a plan of their own; the last eight are kept.
    """

    def __init__(self, subject: Subject, wrt: tuple[str, ...], single: bool, example: Arguments) -> None:
        self._subject, self._single, self._wanted = subject, single or len(wrt) <= 1, wrt
        self._programs: Programs[GradientProgram] = Programs(subject, self._make)
        self._seed = torch.zeros((), dtype=torch.int64, device="cpu")
        self._programs.put(self._make(example), example)

    def __call__(self, *args: Any, cotangent: torch.Tensor | None = None, **kwargs: Any) -> tuple[Any, Any]:
        """Raises InputError, ShapeError or DTypeError when an input or the cotangent is not like the example."""
        with self._subject.locks:
            program, given = self._programs.find(args, kwargs)
            dy = _checked(program, cotangent)
            tensors = program.fit((*given, *(() if dy is None or program.seed is None else (dy,))))
            if program.captured.random:
                self._seed.random_()
            found = program.run.run(tensors)
        gradients = found[program.results :]
        if dy is not None and program.seed is None:
            gradients = [dx * dy.reshape(()).to(dx.dtype) for dx in gradients]
        return program.build(found[: program.results]), gradients[0] if self._single else tuple(gradients)

    def _make(self, arguments: Arguments) -> GradientProgram:
        captured = self._subject.capture(arguments, gradients=True)
        if captured.updated:
            raise InputError(
                f"compile_grad: {', '.join(captured.updated)} would change; gradients alone leave buffers as they are: "
                "call eval() on the modules"
            )
        slots = self._subject.slots()
        live = Live({name: slots[captured.state_name(name)] for name in captured.tensors})
        types = live.types() | {name: input_type(t) for name, t in zip(captured.inputs, arguments.tensors, strict=True)}
        wrt = self._names(captured)
        first = captured.graph.outputs[0].type if captured.form.tensors else None
        if first is None or not first.is_float:
            raise InputError(f"compile_grad: the function must return a tensor of floats first; got {captured.form}")
        seed = None if first.numel == 1 else first
        planned = plan_gradient(captured, types, wrt, seed is not None)
        extra = {SEED: self._seed} if captured.random else {}
        return GradientProgram(captured, planned, live, extra, arguments, first, seed, len(wrt))

    def _names(self, captured: Captured) -> tuple[str, ...]:
        """The graph inputs that ``wrt`` names. Raises InputError for a name that fits none."""
        graph: Graph = captured.graph
        known = [*captured.inputs, *captured.parameters]
        read = {value.name: value.type for value in graph.inputs}
        found: list[str] = []
        for wanted in self._wanted or captured.inputs[:1]:
            if not isinstance(wanted, str):
                raise InputError(f"compile_grad: wrt must hold names of inputs or parameters; got {wanted!r}")
            word = wanted.replace(".", "_").replace("[", "_").replace("]", "")
            fits = [name for name in known if name in (wanted, word) or fnmatchcase(name, wanted)]
            if not fits:
                raise InputError(
                    f"compile_grad: wrt must name inputs or parameters, {', '.join(known)}; got {wanted!r}"
                )
            found += fits
        for name in found:
            if name not in read:
                raise InputError(f"compile_grad: the result does not depend on {name}")
            if not read[name].is_float:
                raise InputError(f"compile_grad: {name} holds {read[name].dtype}, which has no gradient")
        return tuple(found)

    def __reduce__(self) -> Any:
        raise InputError(
            "a compiled gradient cannot be pickled or deep-copied, for it holds your code: compile the function again"
        )

    @property
    def plan(self) -> Plan:
        """The launches of the last call, or of the example."""
        return self.last().planned.plan

    @property
    def stages(self) -> Sequence[Stage]:
        """The graph after every stage of the compiler."""
        return self.last().planned.stages

    def last(self) -> GradientProgram:
        """The program of the last call, or of the example."""
        assert self._programs.last is not None  # the example's is made at once
        return self._programs.last


def _checked(program: GradientProgram, cotangent: torch.Tensor | None) -> torch.Tensor | None:
    """The cotangent, which a result of one number can do without. Raises InputError, ShapeError."""
    type = program.first
    if cotangent is None and program.seed is None:
        return None
    if not isinstance(cotangent, torch.Tensor):
        raise InputError(
            f"the result is {list(type.shape)}: cotangent must be a tensor of that shape; got {cotangent!r}"
        )
    if cotangent.shape != type.shape or cotangent.dtype != TORCH_DTYPE[type.dtype]:
        raise ShapeError(
            f"cotangent must be {type.dtype} {list(type.shape)}; got {cotangent.dtype} {list(cotangent.shape)}"
        )
    return readable(cotangent, "cotangent")
