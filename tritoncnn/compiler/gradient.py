"""Gradients without an update: of a loss with respect to inputs (adversarial examples, dreaming, style) or parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from types import NoneType
from typing import Any

import torch

from tritoncnn.capture import SEED, Captured
from tritoncnn.compiler.memory import Live
from tritoncnn.compiler.pipeline import Planned, plan_gradient
from tritoncnn.compiler.program import CallProgram, fit_all
from tritoncnn.compiler.programs import Programs, input_type
from tritoncnn.compiler.subject import Arguments, Subject
from tritoncnn.errors import InputError, ShapeError
from tritoncnn.ir import Graph, TensorType
from tritoncnn.ops import TORCH_DTYPE
from tritoncnn.passes import Stage
from tritoncnn.plan import Plan
from tritoncnn.runtime import readable
from tritoncnn.tree import Form, leaves


class GradientProgram(CallProgram):
    """One plan of a function and its gradients.

    ``seeds``: numbers of the results whose cotangents the plan reads; none where the first is one number: the gradients are
    then those of that number.
    """

    def __init__(self, captured: Captured, planned: Planned, live: Live, extra: Mapping[str, torch.Tensor],
                 arguments: Arguments, seeds: tuple[int, ...], count: int) -> None:  # fmt: skip
        more = tuple(f"dy{i}" for i in seeds)
        super().__init__(captured, planned, live, extra, arguments, more_inputs=more, more_results=count)
        self.seeds, self.types = seeds, tuple(value.type for value in captured.graph.outputs)


class CompiledGradient:
    """``grad(*inputs)`` -> (the function's result, gradients of its first tensor, or of all that have a cotangent).

    It reads the modules' own parameters. Inputs of other sizes get a plan of their own; the last eight are kept.
    """

    @torch.inference_mode(False)  # what it makes outlives the caller's mode
    def __init__(self, subject: Subject, wrt: tuple[str, ...], single: bool, example: Arguments) -> None:
        self._subject, self._single, self._wanted = subject, single or len(wrt) <= 1, wrt
        self._programs: Programs[GradientProgram] = Programs(subject, self._make)
        self._seed = torch.zeros((), dtype=torch.int64, device="cpu")
        self._programs.put(self._make(example), example)

    def __call__(self, *args: Any, cotangent: Any = None, **kwargs: Any) -> tuple[Any, Any]:
        """``cotangent``: a tensor like the function's first, or a tree like its result, with None where none flows back.

        Raises InputError, ShapeError or DTypeError when an input or a cotangent is not like the example.
        """
        with self._subject.locks:
            form = self.last().captured.form
            plain = cotangent is None or isinstance(cotangent, torch.Tensor) or not form.container
            dys = {0: cotangent} if plain else _by_result(form, cotangent)
            program, given = self._programs.find(args, kwargs, *(() if plain else (tuple(dys),)))
            checked = {i: _checked(program.types[i], dy, program.seeds) for i, dy in dys.items()}
            seeds = fit_all(program.run.inputs[len(given) :], [checked[i] for i in program.seeds])
            if program.captured.random:
                self._seed.random_()
            found = program.run.run((*given, *seeds))
        gradients = found[program.results :]
        if cotangent is not None and not program.seeds:
            gradients = [dx * checked[0].reshape(()).to(dx.dtype) for dx in gradients]
        return program.build(found[: program.results]), gradients[0] if self._single else tuple(gradients)

    def _make(self, arguments: Arguments, seeds: tuple[int, ...] | None = None) -> GradientProgram:
        """``seeds``: results that have cotangents; None: the first, unless it is one number."""
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
        if seeds is None:
            seeds = () if first.numel == 1 else (0,)
        planned = plan_gradient(captured, types, wrt, seeds)
        extra = {SEED: self._seed} if captured.random else {}
        return GradientProgram(captured, planned, live, extra, arguments, seeds, len(wrt))

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


def _by_result(form: Form, tree: Any) -> dict[int, torch.Tensor]:
    """The cotangents in a tree like the result, by the number of the tensor there. Raises InputError for another tree."""
    parts = leaves(form, tree)
    if parts is None:
        raise InputError(f"cotangent must be a tensor, or made as the result is, {form}; got {type(tree).__name__}")
    found = {i: part for i, part in enumerate(parts) if part is not None}
    if not found:
        raise InputError("cotangent must hold a tensor; got None alone")
    return found


def _checked(type: TensorType, cotangent: Any, seeds: tuple[int, ...]) -> Any:
    """A cotangent of a result of this type, which one of one number can do without. Raises InputError, ShapeError."""
    if cotangent is None and not seeds:
        return None
    if not type.is_float:
        raise InputError(f"a result of {type.dtype} has no gradient: its cotangent must be None")
    if not isinstance(cotangent, torch.Tensor):
        got = cotangent if isinstance(cotangent, (int, float, NoneType)) else f"a {cotangent.__class__.__name__}"
        raise InputError(f"the result is {list(type.shape)}: cotangent must be a tensor of that shape; got {got}")
    if cotangent.shape != type.shape or cotangent.dtype != TORCH_DTYPE[type.dtype]:
        raise ShapeError(
            f"cotangent must be {type.dtype} {list(type.shape)}; got {cotangent.dtype} {list(cotangent.shape)}"
        )
    return readable(cotangent, "cotangent")
