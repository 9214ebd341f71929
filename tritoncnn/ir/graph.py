"""The graph: values, nodes, graphs. All frozen; a pass makes a new graph.

A value is a name with a type. A node computes its results from its operands; nodes stand in an order in which they
may run. Which ops exist and what they mean is told in ``tritoncnn.ops``; this room knows only the form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tritoncnn.errors import GraphError
from tritoncnn.ir.types import TensorType

Attr = Any  # bool, int, float, str or tuple of ints: what the text form can hold


@dataclass(frozen=True)
class Value:
    """A tensor at run time. Inputs are named by the user (``x``, ``conv1.weight``), results ``%1``, ``%2``..."""

    name: str
    type: TensorType = field(
        hash=False
    )  # names tell values of a graph apart, and passes look values up a million times

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Node:
    """One op: ``results = op(operands) {attrs}``. ``source`` is the line of the model it came from."""

    op: str
    operands: tuple[Value, ...]
    results: tuple[Value, ...]
    attrs: Mapping[str, Attr] = field(default_factory=dict, hash=False)
    source: str = field(default="", compare=False)

    @property
    def result(self) -> Value:
        """The only result."""
        (value,) = self.results
        return value


@dataclass(frozen=True)
class Graph:
    """``inputs`` flow through ``nodes`` to ``outputs``."""

    name: str
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]

    @cached_property
    def users(self) -> dict[Value, tuple[Node, ...]]:
        """Nodes that read a value, in order; a value that is only an output has none."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.operands):
                found.setdefault(value, []).append(node)
        return {value: tuple(nodes) for value, nodes in found.items()}

    @cached_property
    def producer(self) -> dict[Value, Node]:
        """The node that makes a value; inputs have none."""
        return {value: node for node in self.nodes for value in node.results}

    @cached_property
    def position(self) -> dict[Value, int]:
        """The number of the node that makes a value; inputs have none."""
        return {value: i for i, node in enumerate(self.nodes) for value in node.results}

    def only_user(self, value: Value) -> Node | None:
        """The single node that reads ``value``, unless it is read by several or is an output."""
        users = self.users.get(value, ())
        return users[0] if len(users) == 1 and value not in self.outputs else None

    def input(self, name: str) -> Value:
        for value in self.inputs:
            if value.name == name:
                return value
        raise GraphError(f"graph {self.name} has no input {name!r}; it has {', '.join(v.name for v in self.inputs)}")

    def __str__(self) -> str:
        """The text that ``parse_graph`` reads back."""
        return print_graph(self)


def print_attrs(attrs: Mapping[str, Attr]) -> str:
    def one(value: Attr) -> str:
        if isinstance(value, tuple):
            return "[" + ",".join(map(str, value)) + "]"
        return str(value) if isinstance(value, bool) else repr(value)

    return "{" + ", ".join(f"{key}={one(value)}" for key, value in attrs.items()) + "}" if attrs else ""


def print_graph(graph: Graph) -> str:
    """One line a node: ``%3 = conv2d(x, w) {stride=[1,1]} : f32[1,6,24,24]  # models/lenet.py:19``."""
    inputs = ", ".join(f"{value}: {value.type}" for value in graph.inputs)
    rows = []
    for node in graph.nodes:
        left = f"{', '.join(map(str, node.results))} = {node.op}({', '.join(map(str, node.operands))})"
        attrs = print_attrs(node.attrs)
        types = ", ".join(str(value.type) for value in node.results)
        rows.append(
            (f"  {left}{' ' if attrs else ''}{attrs}", f": {types}", f"  # {node.source}" if node.source else "")
        )
    width = min(max((len(left) for left, _, _ in rows), default=0), 90)
    lines = [f"{left:<{width}} {types}{source}" for left, types, source in rows]
    outputs = ", ".join(map(str, graph.outputs))
    return "\n".join([f"graph {graph.name}({inputs}) {{", *lines, f"  return {outputs}", "}"])
