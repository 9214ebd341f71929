"""Graphs as text, for tests of single passes."""

from __future__ import annotations

import torch

from tritoncnn.ir import Graph, parse_graph, verify
from tritoncnn.ops import check_node
from tritoncnn.ops.evaluate import evaluate
from tritoncnn.passes.define import Pass

STEPS = "stride=[1,1], padding=[0,0], dilation=[1,1]"
POOL = f"window=[2,2], {STEPS.replace('stride=[1,1]', 'stride=[2,2]')}"


def graph(text: str) -> Graph:
    return verify(parse_graph(text), check_node)


def lines(graph: Graph) -> list[str]:
    """Nodes and outputs of a graph that holds together, without types."""
    text = str(verify(graph, check_node))
    return [line.split("  :")[0].split(" : ")[0].strip() for line in text.splitlines()[1:-1]]


def after(step: Pass, text: str) -> list[str]:
    """The nodes and the return line of the graph after one pass, without types."""
    new, _ = step(graph(text))
    return lines(verify(new, check_node, after=step.name))


def random_inputs(graph: Graph) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {v.name: torch.randn(v.type.shape, generator=generator, dtype=torch.float64) for v in graph.inputs}


def same_meaning(before: Graph, after: Graph) -> bool:
    inputs = random_inputs(before)
    pairs = zip(evaluate(before, inputs), evaluate(after, inputs), strict=True)
    return all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in pairs)
