"""From a recipe to programs: traced for operands of given shapes, differentiated, cut in two, planned for given strides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tritoncnn import settings
from tritoncnn.autodiff import pull_back, split
from tritoncnn.ir import Graph, Rewriter, TensorType, Value
from tritoncnn.ops import IR_DTYPE, TORCH_DTYPE, Sym
from tritoncnn.passes import lowering, run_passes
from tritoncnn.plan import make_plan
from tritoncnn.runtime import CpuProgram, ReferenceProgram, target_of

CACHED = 256  # programs of one traced half, oldest first to go


class Program:
    """A graph for inputs of given types: planned when made, compiled when first run."""

    def __init__(self, graph: Graph) -> None:
        self.inputs = tuple(value.name for value in graph.inputs)
        target = target_of(torch.device("cpu"))  # where these ops are registered
        lowered, _ = run_passes(graph, lowering(target))
        self.plan = make_plan(lowered, target)
        types = tuple(value.type.packed() for value in self.plan.graph.outputs)
        self._outputs = tuple((f"output {i}", t.shape, t.strides, TORCH_DTYPE[t.dtype]) for i, t in enumerate(types))
        self._lock = threading.Lock()
        self._program: CpuProgram | ReferenceProgram | None = None

    def empty(self, like: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Tensors for the results; on the device of ``like`` (meta and fake tensors get their own kind)."""
        device = torch.device("cpu") if like is None else like.device  # never torch.set_default_device's
        return [torch.empty_strided(*place, dtype=dtype, device=device) for _, *place, dtype in self._outputs]

    def run(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        results = self.empty()
        with self._lock:  # from binding to running the memory is this call's
            if self._program is None:
                kind = ReferenceProgram if settings.current().reference else CpuProgram
                self._program = kind(self.plan, {})
            program = self._program
            for name, tensor in zip(self.inputs, tensors, strict=True):
                program.bind(name, tensor)
            for (name, *_), result in zip(self._outputs, results, strict=True):
                program.bind(name, result)
            program.run()
            for name in (*self.inputs, *(name for name, *_ in self._outputs)):
                program.buffers.pop(name, None)  # the tensors are the caller's, and end when he lets go
        return results


class Half:
    """A traced graph, forward or backward, and its programs by the strides of its inputs."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.inputs = tuple(value.name for value in graph.inputs)
        self._programs: dict[tuple[Any, ...], Program] = {}

    def program(self, strides: tuple[tuple[int, ...], ...]) -> Program:
        known = self._programs.get(strides)
        if known is None:
            if len(self._programs) >= CACHED:
                self._programs.pop(next(iter(self._programs)))
            known = self._programs[strides] = Program(_with_strides(self.graph, strides))
        return known


def _with_strides(graph: Graph, strides: tuple[tuple[int, ...], ...]) -> Graph:
    out = Rewriter(graph.name)
    for value, steps in zip(graph.inputs, strides, strict=True):
        out.replace(value, out.input(value.name, TensorType(value.type.dtype, value.type.shape, tuple(steps))))
    for node in graph.nodes:
        out.keep(node)
    return out.finish(graph.outputs)


class Traced:
    """What a recipe gives for operands of given shapes and dtypes. ``names`` of what is saved: operands ``x0``..., results
    ``y0``..., further tensors ``saved0``...; ``seeded``: the results that gradients come from.
    """

    def __init__(
        self, forward: Graph, backward: Graph | None, operands: int, results: int, seeded: tuple[int, ...]
    ) -> None:
        self.name = forward.name
        self.forward = Half(forward)
        self.backward = None if backward is None else Half(backward)
        self.results = results
        self.seeded = seeded
        saved = len(forward.outputs) - results
        self.names = (
            *(f"x{i}" for i in range(operands)), *(f"y{i}" for i in range(results)), *(f"saved{i}" for i in range(saved)),
        )  # fmt: skip


def trace(
    name: str, recipe: Callable[..., Any], arguments: Sequence[Any], tensors: frozenset[int], wanted: Sequence[bool]
) -> Traced:
    """``arguments`` are options and, at the places ``tensors``, (dtype, shape) or a tuple of such; ``wanted`` says which of
    these get gradients.
    """
    out = Rewriter(name)
    inputs: list[Value] = []
    given: list[Any] = []

    def operand(dtype: torch.dtype, shape: Sequence[int]) -> Sym:
        inputs.append(out.input(f"x{len(inputs)}", TensorType.dense(IR_DTYPE[dtype], tuple(map(int, shape)))))
        return Sym(out, inputs[-1])

    for place, value in enumerate(arguments):
        if place not in tensors:
            given.append(value)
        elif isinstance(value[0], torch.dtype):
            given.append(operand(*value))
        else:
            given.append([operand(*one) for one in value])
    found = recipe(*given)
    outputs = tuple(y.value for y in (found if isinstance(found, tuple) else (found,)))
    graph = out.finish(outputs)
    seeded = tuple(i for i, y in enumerate(graph.outputs) if y.type.is_float)
    if not any(wanted):
        return Traced(graph, None, len(inputs), len(outputs), seeded)
    wrt = tuple(v for v, asked in zip(inputs, wanted, strict=True) if asked)
    halves = split(pull_back(graph, wrt, seeded), len(outputs), len(wrt))
    return Traced(halves.forward, halves.backward, len(inputs), len(outputs), seeded)
