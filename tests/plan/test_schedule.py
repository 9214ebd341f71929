"""From a graph to launches and places."""

from __future__ import annotations

import pytest

from tests.targets import CPU
from tritoncnn.errors import GraphError
from tritoncnn.ir import parse_graph
from tritoncnn.plan import make_plan

UPDATE = "sgd_plain(p, g, lr) {weight_decay=0.0} : f32[8]"


def test_an_update_in_place_shares_its_operands_memory() -> None:
    plan = make_plan(parse_graph(f"""
        graph g(p: f32[8], g: f32[8], lr: f32[]) {{
          %1 = {UPDATE}
          return %1
        }}"""), CPU)  # fmt: skip
    assert [place.buffer for place in plan.outputs] == ["p"]
    assert plan.calls[0].places[0].buffer == "p"


def test_reading_what_an_update_has_overwritten_is_refused() -> None:
    graph = parse_graph(f"""
        graph g(p: f32[8], g: f32[8], lr: f32[]) {{
          %1 = {UPDATE}
          %2 = pointwise(p) {{expr='neg($0)'}} : f32[8]
          return %1, %2
        }}""")  # fmt: skip
    with pytest.raises(GraphError, match="g: pointwise reads p after sgd_plain has overwritten it"):
        make_plan(graph, CPU)


def test_two_outputs_of_one_value_get_memory_each() -> None:
    plan = make_plan(parse_graph("""
        graph g(x: f32[8]) {
          %1 = pointwise(x) {expr='neg($0)'} : f32[8]
          return %1, %1
        }"""), CPU)  # fmt: skip
    assert [place.buffer for place in plan.outputs] == ["output 0", "output 1"]
    assert [call.node.op for call in plan.calls] == ["pointwise", "copy"]
