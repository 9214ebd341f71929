"""A graph with its vector-Jacobian product -> a forward graph that also returns what the backward graph needs."""

from __future__ import annotations

from dataclasses import dataclass, field

from tritoncnn.ir import Graph, Node, Rewriter, TensorType, Value, remove_dead
from tritoncnn.ops import OPS


@dataclass(frozen=True)
class Halves:
    """forward   the outputs, then the saved tensors
    backward  from inputs of the forward graph (by their names), its outputs ``y0``..., saved tensors ``saved0``... and
              seeds ``dy0``... to the gradients; only those that are read are inputs
    """

    forward: Graph
    backward: Graph
    outputs: int


def split(joint: Graph, outputs: int, gradients: int) -> Halves:
    """Cut the graph that ``pull_back`` made in two.

    What the backward half reads of the forward half is taken from inputs and outputs where it can be, computed again
    where that takes no more than pointwise work, and else saved.
    """
    cut = _Cut(joint, {value: f"y{i}" for i, value in enumerate(joint.outputs[:outputs])})
    wanted = joint.outputs[len(joint.outputs) - gradients :]
    for value in wanted:
        cut.bring(value)
    backward = cut.out.finish(wanted)
    inputs = tuple(v for v in joint.inputs if v not in cut.seeds)
    forward = Graph(joint.name, inputs, joint.nodes, (*joint.outputs[:outputs], *cut.saved))
    return Halves(remove_dead(forward), backward, outputs)


@dataclass
class _Cut:
    """The backward graph under construction."""

    joint: Graph
    known: dict[Value, str]  # forward outputs -> their name in the backward graph
    saved: list[Value] = field(default_factory=list)
    here: set[Value] = field(default_factory=set)  # values that the backward graph has

    def __post_init__(self) -> None:
        self.out = Rewriter(f"{self.joint.name}_backward")
        self.seeds = {v for v in self.joint.inputs if v.name.startswith("dy") and v.name[2:].isdigit()}
        self.late = set(self.seeds)  # depends on a seed
        for node in self.joint.nodes:
            if any(v in self.late for v in node.operands):
                self.late.update(node.results)

    def bring(self, value: Value) -> None:
        """Make ``value`` known in the backward graph."""
        if value in self.here:
            return
        self.here.add(value)
        producer = self.joint.producer.get(value)
        if producer is None:
            self._input(value, value.name)
        elif value in self.known:
            self._input(value, self.known[value])
        elif value in self.late or self._cheap(producer):
            self._keep(producer)
        else:
            self._input(value, f"saved{len(self.saved)}")
            self.saved.append(value)

    def _cheap(self, node: Node) -> bool:
        op = OPS[node.op]
        return op.again or bool(op.triton) or op.view is not None

    def _keep(self, node: Node) -> None:
        for operand in node.operands:
            self.bring(operand)
        self.here.update(node.results)
        self.out.keep(node)

    def _input(self, value: Value, name: str) -> None:
        type = TensorType.dense(value.type.dtype, value.type.shape)
        self.out.replace(value, self.out.input(name, type))
