"""Patterns of nodes: what is found, and what is not."""

from __future__ import annotations

from textwrap import dedent

from tritoncnn.ir import Match, Pattern, match, parse_graph

GRAPH = parse_graph(
    dedent("""
    graph g(x: f32[2,3], b: f32[3]) {
      %1 = exp(x) : f32[2,3]
      %2 = mul(%1, x) : f32[2,3]
      %3 = add(%2, b) : f32[2,3]
      %4 = add(%1, b) : f32[2,3]
      return %3, %4
    }""")
)
EXP, MUL, FIRST, SECOND = GRAPH.nodes


def test_a_pattern_finds_nodes_and_values_under_their_names() -> None:
    pattern = Pattern(("sub", "add"), (Pattern(("mul",), (Pattern(("exp",), ("x",), "inner"), "x"), "outer"), "b"))
    found = match(GRAPH, FIRST, pattern)
    assert found == Match({"inner": EXP, "outer": MUL}, {"x": GRAPH.inputs[0], "b": GRAPH.inputs[1]})


def test_one_name_stands_for_one_value() -> None:
    assert match(GRAPH, MUL, Pattern(("mul",), ("a", "a"))) is None
    assert match(GRAPH, MUL, Pattern(("mul",), ("a", "b"))) is not None


def test_another_op_a_missing_operand_or_an_input_in_place_of_a_node_is_no_match() -> None:
    assert match(GRAPH, SECOND, Pattern(("mul",))) is None
    assert match(GRAPH, EXP, Pattern(("exp",), (None, None))) is None
    assert match(GRAPH, EXP, Pattern(("exp",), (Pattern(("exp",)),))) is None


def test_what_must_be_alone_has_no_other_reader() -> None:
    assert match(GRAPH, FIRST, Pattern(("add",), (Pattern(("mul",), alone=True),))) is not None
    assert match(GRAPH, SECOND, Pattern(("add",), (Pattern(("exp",)),))) is not None
    assert match(GRAPH, SECOND, Pattern(("add",), (Pattern(("exp",), alone=True),))) is None
