"""The pipeline on one page: what was captured -> passes -> plan.

plan_call      inference: the function's results, and the buffers that it changes
plan_prepared_call   the same, with what follows from parameters alone computed when they change
plan_gradient  the function's results, and gradients of the first
plan_step      forward, losses, backward, optimizers
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch

from tritoncnn import cpu, settings
from tritoncnn.autodiff import differentiate, pull_back
from tritoncnn.capture import Captured
from tritoncnn.ir import Graph, Rewriter, TensorType, Value, remove_dead, verify
from tritoncnn.ops import OPS, Sym, check_node
from tritoncnn.optim import Unit, add_optimizers
from tritoncnn.passes import FORWARD, Stage, lowering, run_passes
from tritoncnn.passes.define import count, root
from tritoncnn.passes.flatten_into_matmul import FlattenIntoMatmul
from tritoncnn.passes.fold_batch_norm import FoldBatchNorm
from tritoncnn.passes.pack_parameters import ParameterLayout, lay_out_prepared, pack_outputs, pack_parameters
from tritoncnn.passes.simplify import Simplify
from tritoncnn.passes.split_constants import split_constants
from tritoncnn.passes.store_in_panels import StoreInPanels
from tritoncnn.passes.store_parameters import StoreParameters
from tritoncnn.plan import Plan, make_plan
from tritoncnn.runtime import target_of


@dataclass(frozen=True)
class Planned:
    """The graph after every stage, and the plan. ``prepare``: the plan whose outputs are the arenas ``prepared``."""

    stages: tuple[Stage, ...]
    plan: Plan
    prepare: Plan | None = None
    prepared: tuple[ParameterLayout, ...] = ()


class _Line:
    """A graph on its way through the stages."""

    def __init__(self, captured: Captured, types: Mapping[str, TensorType]) -> None:
        self.target = target_of(torch.device("cpu"))  # where state and arenas lie
        self.results = captured.results
        self.graph = with_types(captured.graph, types)
        way = f", {captured.way}" if captured.way else ""
        self.stages = [Stage("capture", f"ATen ops as IR ops{way}", self.graph)]

    def stage(self, name: str, note: str, graph: Graph) -> None:
        self.graph = graph
        self.stages.append(Stage(name, note, graph))

    def passes(self, passes: tuple[Any, ...]) -> None:
        if settings.current().verify:
            verify(self.graph, check_node, after=self.stages[-1].name)
        self.graph, new = run_passes(self.graph, passes)
        self.stages.extend(new)

    def assign(self, captured: Captured) -> None:
        """Let the buffers that the call changes keep their new contents."""
        if captured.updated:
            note = f"{count(len(captured.updated), 'buffer')} keep their new contents"
            self.stage("assign_buffers", note, assign(self.graph, captured))

    def plan(self, title: str) -> Planned:
        self.passes(lowering(self.target, self.results))
        plan = make_plan(self.graph, self.target)
        _dump(title, self.stages, plan)
        return Planned(tuple(self.stages), plan)


def plan_call(captured: Captured, types: Mapping[str, TensorType]) -> Planned:
    """``types``: how inputs and state lie in memory, by name, where it is not row-major."""
    line = _Line(captured, types)
    line.passes(FORWARD)
    line.assign(captured)
    return line.plan(line.graph.name)


def plan_prepared_call(captured: Captured, types: Mapping[str, TensorType]) -> Planned:
    """As ``plan_call``, but what follows from state alone is a plan of its own, ``prepare``, run when the state has changed."""
    line = _Line(captured, types)
    line.passes(FORWARD)
    fixed = frozenset({*captured.parameters, *captured.buffers, *captured.constants} - set(captured.updated))
    line.passes((FoldBatchNorm(fixed), FlattenIntoMatmul(fixed), Simplify(), StoreInPanels(fixed, line.target), Simplify(),
                 StoreParameters(fixed)))  # fmt: skip
    line.assign(captured)
    once, graph = split_constants(line.graph, fixed)
    line.stage("SplitConstants", f"{count(len(once.nodes), 'node')} follow from parameters alone: run at load", graph)
    layouts = lay_out_prepared(graph)
    line.graph = pack_parameters(graph, *layouts)
    planned = line.plan(line.graph.name)
    once, _ = run_passes(pack_outputs(once, *layouts), lowering(line.target))
    return replace(planned, prepare=make_plan(once, line.target) if layouts else None, prepared=layouts)


def plan_gradient(
    captured: Captured, types: Mapping[str, TensorType], wrt: Sequence[str], seeds: tuple[int, ...]
) -> Planned:
    """``wrt``: names of inputs. ``seeds``: the gradient starts from inputs ``dy<i>`` of the types of these results; without
    any, from the first, which is one number.
    """
    line = _Line(captured, types)
    line.passes(FORWARD)
    values = tuple(line.graph.input(name) for name in wrt)
    graph = pull_back(line.graph, values, seeds) if seeds else differentiate(line.graph, values)
    line.stage("differentiate", f"gradients of {', '.join(wrt)}", graph)
    line.results += tuple(value.type for value in values)  # a gradient lies as what it belongs to
    return line.plan(f"{line.graph.name}-gradient")


def plan_step(
    captured: Captured, types: Mapping[str, TensorType], units: Sequence[Unit], *, pending: bool, update: bool
) -> Planned:
    """``units``: what is trained, on which loss, by which optimizer. ``pending``: gradients of earlier calls are added first.
    ``update`` False: gradients are only added up.
    """
    line = _Line(captured, types)
    line.passes(FORWARD)
    for (output, loss), together in groupby(units, key=lambda unit: (unit.output, unit.loss)):
        values = tuple(line.graph.input(part.name) for unit in together for part in unit.layout.slices)
        note = f"gradients of {len(values)} parameters{f' by {loss}' if loss else ''}"
        line.stage("differentiate", note, differentiate(line.graph, values, output))
    layouts = [unit.layout for unit in units]
    graph = pack_outputs(pack_parameters(line.graph, *layouts), *layouts)
    line.stage(
        "PackParameters", f"{sum(len(layout.slices) for layout in layouts)} parameters in {len(layouts)} arenas", graph
    )
    line.assign(captured)  # before the optimizers: what is assigned may be parameters as they are
    graph = add_optimizers(line.graph, captured.form.tensors, units, pending=pending, update=update)
    note = "; ".join(f"{unit.optimizer} on {unit.arena}, {unit.layout.size} elements" for unit in units)
    line.stage("add_optimizer", note, graph)
    return line.plan(f"{line.graph.name}-step")


def with_types(graph: Graph, types: Mapping[str, TensorType]) -> Graph:
    """The graph with some inputs lying in memory otherwise than row-major."""
    out = Rewriter(graph.name)
    for value in graph.inputs:
        out.replace(value, out.input(value.name, types.get(value.name, value.type)))
    for node in graph.nodes:
        out.keep(node)
    return out.finish(graph.outputs)


def assign(graph: Graph, captured: Captured) -> Graph:
    """f(x, buffer) -> (y, buffer', further...)   =>   f(x, buffer) -> (y, further..., buffer := buffer')

    Whatever else must still hold the old contents is copied first: results that are views of a buffer that changes, and new
    contents that are views of another one. What overwrites places of the buffer itself, and is not needed otherwise, is written
    in place: the rest of the buffer is not touched.
    """
    out = Rewriter(graph.name)
    out.keep_inputs(graph)
    for node in graph.nodes:
        out.keep(node)
    changed = {name: graph.input(name) for name in captured.updated}
    first = captured.form.tensors
    last = first + len(changed)

    def kept(value: Value) -> Value:
        if root(graph, value) not in changed.values():
            return out.value(value)
        return OPS["snapshot"](Sym(out, out.value(value))).value  # type: ignore[no-any-return]

    def content(buffer: Value, value: Value) -> Callable[[], Any]:
        """What gives the buffer its new content, once all that must be kept is."""
        node = graph.producer.get(value)
        here = Sym(out, out.value(buffer))
        own = node is not None and node.operands[:1] == (buffer,) and OPS[node.op].within
        if node is not None and own and value not in graph.users and graph.outputs.count(value) == 1:
            places = [Sym(out, kept(operand)) for operand in node.operands[1:]]
            return lambda: OPS[own](here, *places, **node.attrs)
        new = Sym(out, kept(value))
        return lambda: OPS["assign"](here, new)

    others = tuple(kept(value) for value in (*graph.outputs[:first], *graph.outputs[last:]))
    contents = [content(*pair) for pair in zip(changed.values(), graph.outputs[first:last], strict=True)]
    return remove_dead(out.finish((*others, *(write().value for write in contents))))


def _dump(name: str, stages: Sequence[Stage], plan: Plan) -> None:
    """Under TRITONCNN_DUMP=passes,plan: the graph after every stage and the plan, in <cache>/dump."""
    wanted, folder = settings.current().dump, settings.current().cache
    if "passes" in wanted:
        for number, stage in enumerate(stages):
            text = f"# {stage.name}: {stage.note}\n{stage.graph}\n"
            cpu.write_text(folder, "dump", f"{name}-{number:02}-{stage.name}.txt", text)
    if "plan" in wanted:
        cpu.write_text(folder, "dump", f"{name}-plan.txt", f"{plan}\n")
