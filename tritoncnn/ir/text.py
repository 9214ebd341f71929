"""Text -> graph. ``parse_graph(str(g)) == g`` for every graph (``source`` comments are read back too)."""

from __future__ import annotations

import ast
import re

from tritoncnn.errors import GraphError
from tritoncnn.ir.graph import Attr, Graph, Node, Value
from tritoncnn.ir.types import parse_type

_HEAD = re.compile(r"graph ([^\s(]+)\((.*)\) \{")
_NODE = re.compile(r"(.+?) = (\w+)\(([^)]*)\)(?: (\{.*\}))?\s+: (.+?)(?:  # (.*))?")
_TYPED = re.compile(r"([^\s,:]+): (\w+\[[\d,]*\](?:@(?:strides\([-\d,]*\)|\d+(?:,\d+)*))?)")
_TYPE = re.compile(r"\w+\[[\d,]*\](?:@(?:strides\([-\d,]*\)|\d+(?:,\d+)*))?")
_ATTR = re.compile(r"(\w+)=(\[[^\]]*\]|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^,}]+)")


def _parse_attr(text: str) -> Attr:
    if text in ("inf", "-inf", "nan"):
        return float(text)
    value = ast.literal_eval(text)
    return tuple(value) if isinstance(value, list) else value


def parse_graph(text: str) -> Graph:
    """Read what ``print_graph`` wrote. Raises GraphError with the line that does not fit."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    head = _HEAD.fullmatch(lines[0].strip()) if lines else None
    if head is None or len(lines) < 3 or lines[-1].strip() != "}":
        raise GraphError(f"graph text starts with 'graph NAME(inputs) {{' and ends with '}}'; got {text[:60]!r}")
    known: dict[str, Value] = {}

    def define(name: str, type_text: str) -> Value:
        if name in known:
            raise GraphError(f"graph text defines {name} twice")
        known[name] = Value(name, parse_type(type_text))
        return known[name]

    def use(names: str, line: str) -> tuple[Value, ...]:
        words = [word.strip() for word in names.split(",") if word.strip()]
        for word in words:
            if word not in known:
                raise GraphError(f"graph text uses {word} before it is defined, in line: {line.strip()}")
        return tuple(known[word] for word in words)

    inputs = tuple(define(name, type_text) for name, type_text in _TYPED.findall(head[2]))
    nodes = []
    for line in lines[1:-2]:
        match = _NODE.fullmatch(line.strip())
        if match is None:
            raise GraphError(f"a node reads '%1 = op(a, b) {{key=value}} : type'; got {line.strip()!r}")
        names, op, operands, attrs, types, source = match.groups()
        operand_values = use(operands, line)
        result_names = [word.strip() for word in names.split(",")]
        result_types = _TYPE.findall(types)
        if len(result_names) != len(result_types):
            raise GraphError(f"{len(result_names)} results but {len(result_types)} types in line: {line.strip()}")
        results = tuple(define(name, type_text) for name, type_text in zip(result_names, result_types, strict=True))
        values = {key: _parse_attr(value) for key, value in _ATTR.findall(attrs[1:-1] if attrs else "")}
        nodes.append(Node(op, operand_values, results, values, source or ""))
    last = lines[-2].strip()
    if not last.startswith("return"):
        raise GraphError(f"a graph ends with 'return VALUES'; got {last!r}")
    return Graph(head[1], inputs, tuple(nodes), use(last.removeprefix("return"), last))
