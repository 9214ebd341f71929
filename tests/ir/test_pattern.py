"""Patterns of nodes: what is found, and what is not."""

from __future__ import annotations

from tritoncnn.ir import Match, Pattern, match, matches, parse_graph

GRAPH = parse_graph("""
    graph g(x: f32[2,3], b: f32[3]) {
      %1 = exp(x) : f32[2,3]
      %2 = mul(%1, x) : f32[2,3]
      %3 = add(%2, b) : f32[2,3]
      %4 = add(%1, b) : f32[2,3]
      return %3, %4
    }""")
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


def test_an_operand_at_whichever_place_is_found_in_all_ways_the_latest_made_first() -> None:
    both = parse_graph("""
        graph g(x: f32[2,3]) {
          %1 = exp(x) : f32[2,3]
          %2 = sum(%1) {dims=[0]} : f32[3]
          %3 = exp(%2) : f32[3]
          %4 = sub(%1, %3) : f32[2,3]
          return %4
        }""")
    first, _, small, root = both.nodes
    found = list(matches(both, root, Pattern(("sub",), some=Pattern(("exp",), name="made"))))
    assert [way.nodes["made"] for way in found] == [small, first]
    alone = list(matches(both, root, Pattern(("sub",), some=Pattern(("exp",), name="made", alone=True))))
    assert [way.nodes["made"] for way in alone] == [small]
    like = list(matches(both, root, Pattern(("sub",), some=Pattern(("exp",), name="made", like=True))))
    assert [way.nodes["made"] for way in like] == [first]


def test_at_whichever_place_stands_a_nodes_first_result_and_no_further_one() -> None:
    pooled = parse_graph("""
        graph g(x: f32[1,1,4,4], i: i32[1,1,2,2]) {
          %1, %2 = max_pool2d(x) {dilation=[1,1], padding=[0,0], stride=[2,2], window=[2,2]} : f32[1,1,2,2], i32[1,1,2,2]
          %3 = eq(%2, i) : i1[1,1,2,2]
          %4 = exp(%1) : f32[1,1,2,2]
          return %3, %4
        }""")
    _, second, first = pooled.nodes
    pattern = (("max_pool2d",),)
    assert match(pooled, second, Pattern(("eq",), some=Pattern(*pattern))) is None
    assert match(pooled, first, Pattern(("exp",), some=Pattern(*pattern))) is not None


def test_ops_may_be_told_by_a_test_that_they_stand() -> None:
    assert match(GRAPH, MUL, Pattern(lambda node: len(node.operands) == 2)) is not None
    assert match(GRAPH, EXP, Pattern(lambda node: len(node.operands) == 2)) is None
