"""Graphs as text, for tests of single passes."""

from __future__ import annotations

from textwrap import dedent

from tritoncnn.ir import Graph, parse_graph, verify
from tritoncnn.ops import check_node
from tritoncnn.passes.define import Pass

STEPS = "stride=[1,1], padding=[0,0], dilation=[1,1]"
POOL = f"window=[2,2], {STEPS.replace('stride=[1,1]', 'stride=[2,2]')}"


def graph(text: str) -> Graph:
    return verify(parse_graph(dedent(text)), check_node)


def after(step: Pass, text: str) -> list[str]:
    """The nodes and the return line of the graph after one pass, without types."""
    new, _ = step(graph(text))
    verify(new, check_node, after=step.name)
    return [line.split("  :")[0].split(" : ")[0].strip() for line in str(new).splitlines()[1:-1]]
