"""From a recipe to programs: traced for operands of given shapes, differentiated, cut in two, planned for given strides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tritoncnn.autodiff import pull_back, split
from tritoncnn.ir import Graph, Rewriter, TensorType, Value
from tritoncnn.ops import IR_DTYPE, Sym
from tritoncnn.passes import lowering, run_passes
from tritoncnn.plan import make_plan
from tritoncnn.runtime import Executable, ranges_of, target_of

CACHED = 256  # programs of one traced half, oldest first to go


def program_of(graph: Graph) -> Executable:
    """A program for inputs of given types: planned now, compiled when first run."""
    target = target_of(torch.device("cpu"))  # where these ops are registered
    lowered, _ = run_passes(graph, lowering(target))
    plan = make_plan(lowered, target)
    return Executable(plan, tuple(value.name for value in graph.inputs), len(plan.graph.outputs))


class Half:
    """A traced graph, forward or backward, and its programs by the strides of its inputs."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.inputs = tuple(value.name for value in graph.inputs)
        self._programs: dict[tuple[Any, ...], Executable] = {}

    def program(self, strides: tuple[tuple[int, ...], ...]) -> Executable:
        known = self._programs.get(strides)
        if known is None:
            if len(self._programs) >= CACHED:
                self._programs.pop(next(iter(self._programs)))
            known = self._programs[strides] = program_of(_with_strides(self.graph, strides))
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
    ``y0``..., further tensors ``saved0``...; ``seeded``: the results that gradients come from. ``ranges``: what operands are
    checked for; ``called``: their names in errors.
    """

    def __init__(
        self, forward: Graph, backward: Graph | None, called: Sequence[str], results: int, seeded: tuple[int, ...]
    ) -> None:
        operands = len(called)
        self.name = forward.name
        self.forward = Half(forward)
        self.backward = None if backward is None else Half(backward)
        self.results = results
        self.seeded = seeded
        saved = len(forward.outputs) - results
        self.names = (
            *(f"x{i}" for i in range(operands)), *(f"y{i}" for i in range(results)), *(f"saved{i}" for i in range(saved)),
        )  # fmt: skip
        self.called = tuple(called)
        self.ranges = ranges_of(forward, self.names[:operands])


def trace(
    name: str, recipe: Callable[..., Any], arguments: Sequence[Any], tensors: frozenset[int], wanted: Sequence[bool],
    called: Sequence[str],
) -> Traced:  # fmt: skip
    """``arguments`` are options and, at the places ``tensors``, (dtype, shape) or a tuple of such; ``wanted`` says which of
    these get gradients, ``called`` what they are called.
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
        return Traced(graph, None, called, len(outputs), seeded)
    wrt = tuple(v for v, asked in zip(inputs, wanted, strict=True) if asked)
    halves = split(pull_back(graph, wrt, seeded), len(outputs), len(wrt))
    return Traced(halves.forward, halves.backward, called, len(outputs), seeded)
