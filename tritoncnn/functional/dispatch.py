"""A fused op for torch: a recipe over graph values becomes ``torch.ops.tritoncnn.<name>`` with its gradient.

The recipe is written once, on ``Sym``s. For tensors of given types it is traced into a graph, differentiated, cut into
a forward and a backward half, and each half goes through the same passes, planner and runtime as a whole model.
Programs are kept by types and options: the second call of a kind costs a lookup, binding and one native call.

The library op answers with a list: the results first, then what the backward pass needs (nothing when ``wanted`` is
empty). ``<name>_backward`` is an op of its own, so that torch.compile sees both.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from tritoncnn import settings
from tritoncnn.autodiff import Halves, pull_back, split
from tritoncnn.errors import DTypeError, InputError, UnsupportedError
from tritoncnn.ir import Graph, Rewriter, TensorType, Value
from tritoncnn.ops import IR_DTYPE, TORCH_DTYPE, Sym
from tritoncnn.passes import LOWERING, run_passes
from tritoncnn.plan import make_plan
from tritoncnn.runtime import CpuProgram, ReferenceProgram

Recipe = Callable[..., Any]
Ints = Sequence[int]
Labels = torch.Tensor  # i64
FLOATS = (torch.float32, torch.bfloat16, torch.float16)
CACHED = 1024  # graphs and programs that are kept

# How an annotation of a recipe is said in torch's schema language.
SCHEMA = {
    "Tensor": "Tensor", "Tensor | None": "Tensor?", "Labels": "Tensor", "Labels | None": "Tensor?", "Ints": "int[]",
    "int": "int", "float": "float", "bool": "bool", "str": "str",
}  # fmt: skip
TENSORS = ("Tensor", "Tensor | None", "Labels", "Labels | None")

LIBRARY = torch.library.Library("tritoncnn", "DEF")


class Program:
    """A graph for inputs of given types: planned when made, compiled when first run."""

    def __init__(self, graph: Graph) -> None:
        self.inputs = tuple(value.name for value in graph.inputs)
        lowered, _ = run_passes(graph, LOWERING)
        self.plan = make_plan(lowered)
        self.outputs = tuple(value.type.packed() for value in self.plan.graph.outputs)
        self._lock = threading.Lock()
        self._program: CpuProgram | ReferenceProgram | None = None

    def empty(self, like: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Tensors for the results; on the device of ``like`` (meta and fake tensors get their own kind)."""
        device = None if like is None else like.device
        return [
            torch.empty_strided(t.shape, t.strides, dtype=TORCH_DTYPE[t.dtype], device=device) for t in self.outputs
        ]

    def run(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        results = self.empty()
        with self._lock:  # from binding to running the memory is this call's
            if self._program is None:
                kind = ReferenceProgram if settings.current().reference else CpuProgram
                self._program = kind(self.plan, {})
            for name, tensor in zip(self.inputs, tensors, strict=True):
                self._program.bind(name, tensor)
            for i, result in enumerate(results):
                self._program.bind(f"output {i}", result)
            self._program.run()
        return results


def type_of(tensor: torch.Tensor) -> TensorType:
    return TensorType(IR_DTYPE[tensor.dtype], tuple(map(int, tensor.shape)), tuple(map(int, tensor.stride())))


@lru_cache(CACHED)
def _program(graph: Graph, types: tuple[TensorType, ...]) -> Program:
    """The program of ``graph`` for inputs with these strides."""
    out = Rewriter(graph.name)
    for value, type in zip(graph.inputs, types, strict=True):
        out.replace(value, out.input(value.name, type))
    for node in graph.nodes:
        out.keep(node)
    return Program(out.finish(graph.outputs))


@dataclass(frozen=True)
class Traced:
    """What a recipe gives for operands of given shapes and dtypes."""

    forward: Graph
    backward: Graph | None
    outputs: int


@dataclass(frozen=True)
class FusedOp:
    """A recipe and its library op. Call it with tensors and options in the order of the recipe's signature."""

    name: str
    recipe: Recipe
    kinds: tuple[tuple[str, str], ...]  # (argument, annotation)

    def __call__(self, *arguments: Any) -> tuple[torch.Tensor, ...]:
        """All results. Raises InputError, DTypeError, ShapeError for bad operands."""
        tensors = self._check(arguments)
        wanted = [bool(x.requires_grad) for x in tensors] if torch.is_grad_enabled() else []
        found = getattr(torch.ops.tritoncnn, self.name)(*arguments, wanted if any(wanted) else [])
        return tuple(found)

    def _check(self, arguments: Sequence[Any]) -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        floats: list[tuple[str, torch.Tensor]] = []
        for (name, kind), value in zip(self.kinds, arguments, strict=True):
            if kind not in TENSORS or (value is None and kind.endswith("None")):
                continue
            if not isinstance(value, torch.Tensor):
                raise InputError(f"{self.name}: {name} must be a tensor; got {type(value).__name__}")
            if value.device.type not in ("cpu", "meta"):
                raise InputError(
                    f"{self.name}: {name} must be on the cpu; it is on {value.device}; move it with .cpu()"
                )
            if kind.startswith("Labels"):
                if value.dtype != torch.int64:
                    raise DTypeError(f"{self.name}: {name} must hold torch.int64 numbers; got {value.dtype}")
            elif value.dtype not in FLOATS:
                wanted = ", ".join(map(str, FLOATS))
                raise DTypeError(f"{self.name}: {name} must be one of {wanted}; got {value.dtype}")
            else:
                floats.append((name, value))
            found.append(value)
        for name, value in floats[1:]:
            if value.dtype != floats[0][1].dtype:
                raise DTypeError(
                    f"{self.name}: {name} must be {floats[0][1].dtype}, as {floats[0][0]} is; got {value.dtype}"
                )
        return found

    def present(self, arguments: Sequence[Any]) -> list[torch.Tensor]:
        """The tensors among the arguments."""
        return [x for (_, kind), x in zip(self.kinds, arguments, strict=True) if kind in TENSORS and x is not None]

    def trace(self, arguments: Sequence[Any], wanted: Sequence[bool]) -> Traced:
        key = tuple(
            (type_of(x).dtype, tuple(map(int, x.shape))) if isinstance(x, torch.Tensor)
            else tuple(x) if isinstance(x, (list, tuple)) else x
            for x in arguments
        )  # fmt: skip
        return _trace(self, key, tuple(wanted))

    def forward(self, *given: Any) -> list[torch.Tensor]:
        *arguments, wanted = given
        return self._forward(arguments, wanted).run(self.present(arguments))

    def forward_fake(self, *given: Any) -> list[torch.Tensor]:
        *arguments, wanted = given
        tensors = self.present(arguments)
        return self._forward(arguments, wanted).empty(tensors[0])

    def _forward(self, arguments: Sequence[Any], wanted: Sequence[bool]) -> Program:
        graph = self.trace(arguments, wanted).forward
        return _program(graph, tuple(type_of(x) for x in self.present(arguments)))

    def backward(self, *given: Any) -> list[torch.Tensor]:
        program, tensors = self._backward(*given)
        return program.run(tensors)

    def backward_fake(self, *given: Any) -> list[torch.Tensor]:
        program, tensors = self._backward(*given)
        return program.empty(tensors[0])

    def _backward(
        self, seeds: Sequence[torch.Tensor], results: Sequence[torch.Tensor], *given: Any
    ) -> tuple[Program, list[torch.Tensor]]:
        *arguments, wanted = given
        traced = self.trace(arguments, wanted)
        assert traced.backward is not None
        known = {f"x{i}": x for i, x in enumerate(self.present(arguments))}
        known |= {f"y{i}": y for i, y in enumerate(results[: traced.outputs])}
        known |= {f"saved{i}": y for i, y in enumerate(results[traced.outputs :])}
        known |= {f"dy{i}": dy for i, dy in zip(_seeded(results[: traced.outputs]), seeds, strict=True)}
        tensors = [known[value.name] for value in traced.backward.inputs]
        return _program(traced.backward, tuple(map(type_of, tensors))), tensors


def _seeded(outputs: Sequence[Any]) -> list[int]:
    """Numbers of the results that gradients come from: those of floats."""
    return [i for i, y in enumerate(outputs) if y.dtype.is_floating_point]


@lru_cache(CACHED)
def _trace(op: FusedOp, key: tuple[Any, ...], wanted: tuple[bool, ...]) -> Traced:
    out = Rewriter(op.name)
    arguments: list[Any] = []
    inputs: list[Value] = []
    for (_, kind), value in zip(op.kinds, key, strict=True):
        if kind in TENSORS and value is not None:
            inputs.append(out.input(f"x{len(inputs)}", TensorType.dense(*value)))
            arguments.append(Sym(out, inputs[-1]))
        else:
            arguments.append(value)
    found = op.recipe(*arguments)
    outputs = tuple(y.value for y in (found if isinstance(found, tuple) else (found,)))
    graph = out.finish(outputs)
    if not any(wanted):
        return Traced(graph, None, len(outputs))
    wrt = tuple(v for v, asked in zip(inputs, wanted, strict=True) if asked)
    seeded = tuple(i for i, y in enumerate(graph.outputs) if y.type.is_float)
    halves: Halves = split(pull_back(graph, wrt, seeded), len(outputs), len(wrt))
    return Traced(halves.forward, halves.backward, len(outputs))


def fused(recipe: Recipe) -> FusedOp:
    """Register ``torch.ops.tritoncnn.<recipe's name>`` and its backward op; the annotations make the schema."""
    # Annotations are read as text: Ints and Labels stand for what torch's schema distinguishes and Python does not.
    kinds = tuple((name, str(p.annotation)) for name, p in inspect.signature(recipe).parameters.items())
    unknown = [kind for _, kind in kinds if kind not in SCHEMA]
    assert not unknown, f"{recipe.__name__}: annotations {unknown} have no schema"
    op = FusedOp(recipe.__name__.strip("_"), recipe, kinds)
    arguments = ", ".join(f"{SCHEMA[kind]} {name}" for name, kind in kinds)
    LIBRARY.define(f"{op.name}({arguments}, bool[] wanted) -> Tensor[]")
    LIBRARY.define(f"{op.name}_backward(Tensor[] seeds, Tensor[] results, {arguments}, bool[] wanted) -> Tensor[]")
    LIBRARY.impl(op.name, op.forward, "CPU")
    LIBRARY.impl(f"{op.name}_backward", op.backward, "CPU")
    torch.library.register_fake(f"tritoncnn::{op.name}", op.forward_fake, lib=LIBRARY)
    torch.library.register_fake(f"tritoncnn::{op.name}_backward", op.backward_fake, lib=LIBRARY)
    torch.library.register_autograd(
        f"tritoncnn::{op.name}", _backward_of(op), setup_context=_remember_of(op), lib=LIBRARY
    )
    return op


def _remember_of(op: FusedOp) -> Callable[..., None]:
    def remember(ctx: Any, inputs: tuple[Any, ...], output: list[torch.Tensor]) -> None:
        """Keep the tensors that the backward program reads; the others only as shapes, in one element of memory."""
        *arguments, wanted = inputs
        ctx.options = [None if isinstance(x, torch.Tensor) else x for x in arguments]
        ctx.places = [i for i, x in enumerate(arguments) if isinstance(x, torch.Tensor)]
        ctx.wanted = list(wanted)
        if not wanted:
            return
        traced = op.trace(arguments, wanted)
        assert traced.backward is not None
        read = {value.name for value in traced.backward.inputs}
        named = [(f"x{i}", arguments[place]) for i, place in enumerate(ctx.places)]
        named += [(f"y{i}" if i < traced.outputs else f"saved{i - traced.outputs}", y) for i, y in enumerate(output)]
        ctx.save_for_backward(*(x if name in read else _hollow(x) for name, x in named))

    return remember


def _hollow(x: torch.Tensor) -> torch.Tensor:
    return x.detach().new_empty((1,) * x.dim()).expand(x.shape)


def _backward_of(op: FusedOp) -> Callable[..., Any]:
    def backward(ctx: Any, grads: list[torch.Tensor | None]) -> tuple[Any, ...]:
        if not ctx.wanted:
            raise UnsupportedError(
                f"{op.name} was called without gradients: call torch.ops.tritoncnn through functional"
            )
        saved, count = ctx.saved_tensors, len(ctx.places)
        arguments = list(ctx.options)
        for place, tensor in zip(ctx.places, saved, strict=False):
            arguments[place] = tensor
        results = list(saved[count:])
        outputs = op.trace(arguments, ctx.wanted).outputs
        seeds = []
        for i in _seeded(results[:outputs]):
            dy = grads[i]
            seeds.append(torch.zeros_like(results[i]) if dy is None else dy)
        call = getattr(torch.ops.tritoncnn, f"{op.name}_backward")
        found = iter(call(seeds, results, *arguments, ctx.wanted))
        answer: list[Any] = [None] * (len(arguments) + 1)
        for place, asked in zip(ctx.places, ctx.wanted, strict=True):
            if asked:
                answer[place] = next(found)
        return tuple(answer)

    return backward
