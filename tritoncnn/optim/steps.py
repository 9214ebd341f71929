"""What the optimizers of one step add to its graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tritoncnn.ir import Graph, Rewriter, TensorType, Value
from tritoncnn.ops import OPS, Sym
from tritoncnn.optim.define import Optimizer, bounded, clipped, square_sum
from tritoncnn.passes.define import root
from tritoncnn.passes.pack_parameters import ParameterLayout

AVERAGE = "average"  # the arena of the parameters' moving average
GRADIENTS = "gradients"  # the arena of gradients of calls before the one that updates


def numbered(what: str, number: int) -> str:
    """``lr``, ``lr.1``... for the units in order."""
    return f"{what}.{number}" if number else what


@dataclass(frozen=True)
class Unit:
    """Parameters that one optimizer trains with the same numbers: they share an arena.

    ``loss`` is the loss's name and ``output`` its place among the graph's outputs. ``update`` numbers the update that the unit
    belongs to (its gradients are clipped together), ``number`` the unit among all.
    """

    loss: str
    output: int
    update: int
    number: int
    layout: ParameterLayout
    optimizer: Optimizer
    pattern: str = ""

    def name(self, what: str) -> str:
        """The graph input that holds ``what`` of this unit: ``lr``, ``lr.1``..."""
        return numbered(what, self.number)

    @property
    def arena(self) -> str:
        return self.layout.arena

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the kept arenas but the parameters' own."""
        return (*self.optimizer.state, AVERAGE) if self.optimizer.ema else self.optimizer.state


def add_optimizers(
    graph: Graph, results: int, units: Sequence[Unit], *, pending: bool = False, update: bool = True
) -> Graph:
    """(results..., a gradient arena per unit..., further...)   =>
    (results..., step', per unit: parameters', states', average'..., further...), all but the results updated in place.

    New inputs: ``step`` i64 (counts finished steps); per unit ``lr`` f32 and one arena per state. With ``pending`` or without
    ``update`` also ``gradients``: it is added to the gradients, or takes their sum.
    """
    out = Rewriter(graph.name)
    out.keep_inputs(graph)
    for node in graph.nodes:
        out.keep(node)
    packs = graph.outputs[results : results + len(units)]
    arenas = {graph.input(unit.arena) for unit in units}
    ends = [_kept(out, graph, value, arenas) for value in graph.outputs[:results]]
    sums = [_held(out, unit, GRADIENTS) + Sym(out, out.value(v)) if pending else Sym(out, out.value(v))
            for unit, v in zip(units, packs, strict=True)]  # fmt: skip
    if update:
        ends += _updates(out, graph, units, sums)
    else:
        ends += [OPS["assign"](_held(out, unit, GRADIENTS), g).value for unit, g in zip(units, sums, strict=True)]
    return out.finish((*ends, *(out.value(v) for v in graph.outputs[results + len(units) :])))


def _held(out: Rewriter, unit: Unit, what: str) -> Sym:
    """The input that holds an arena of the unit."""
    name = unit.name(what)
    known = next((v for v in out.inputs if v.name == name), None)
    return Sym(out, known or out.input(name, TensorType.dense("f32", (unit.layout.size,))))


def _kept(out: Rewriter, graph: Graph, value: Value, arenas: set[Value]) -> Value:
    """A result, which must not be a view of parameters that are about to change."""
    if root(graph, value) not in arenas:
        return out.value(value)
    return OPS["snapshot"](Sym(out, out.value(value))).value  # type: ignore[no-any-return]


def _updates(out: Rewriter, graph: Graph, units: Sequence[Unit], sums: Sequence[Sym]) -> list[Value]:
    """The step count, and what each unit's optimizer makes of its parameters and states."""
    rates = [Sym(out, out.input(unit.name("lr"), TensorType.dense("f32", ()))) for unit in units]
    step = OPS["increment"](Sym(out, out.input("step", TensorType.dense("i64", ()))))
    signed = [-g if unit.optimizer.maximize else g for unit, g in zip(units, sums, strict=True)]
    bound = [
        bounded(g, u.optimizer.clip_value) if u.optimizer.clip_value else g for u, g in zip(units, signed, strict=True)
    ]
    ends = [step.value]
    squares = [(u.update, square_sum(g)) for u, g in zip(units, bound, strict=True) if u.optimizer.clip_norm]
    for unit, lr, g in zip(units, rates, bound, strict=True):
        if unit.optimizer.clip_norm:
            first, *rest = (square for update, square in squares if update == unit.update)
            g = clipped(g, unit.optimizer.clip_norm, sum(rest, first))
        ends += _update(out, Sym(out, out.value(graph.input(unit.arena))), unit, g, lr, step)
    return ends


def _update(out: Rewriter, p: Sym, unit: Unit, g: Sym, lr: Sym, step: Sym) -> list[Value]:
    states = tuple(_held(out, unit, name) for name in unit.optimizer.state)
    new = unit.optimizer.update(p, g, lr, step, states)
    made = {value: node for node in out.nodes for value in node.results}
    stored = [
        y if OPS[made[y.value].op].inplace else OPS["assign"](old, y) for old, y in zip((p, *states), new, strict=True)
    ]
    if unit.optimizer.ema:
        stored.append(OPS["ema"](_held(out, unit, AVERAGE), stored[0], step, decay=unit.optimizer.ema))
    return [y.value for y in stored]
