"""Graphs: who uses a value, rewriting, dead code, the verifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tritoncnn.errors import GraphError
from tritoncnn.ir import (
    Graph,
    Join,
    Node,
    Rewriter,
    TensorType,
    Value,
    merge,
    parse_graph,
    remove_dead,
    rewrite,
    verify,
)
from tritoncnn.ops import check_node

F = TensorType.dense("f32", (2, 3))
X, Y = Value("x", F), Value("y", F)


def small() -> Graph:
    return parse_graph("""graph small(x: f32[2,3], y: f32[2,3]) {
      %1 = add(x, y)  : f32[2,3]  # model.py:3
      %2 = relu(%1)   : f32[2,3]
      %3 = mul(%1, x) : f32[2,3]
      return %2
    }""")


def test_users_and_producers_are_found() -> None:
    graph = small()
    one, two, three = graph.nodes
    assert graph.users[one.result] == (two, three)
    assert graph.users[X] == (one, three)
    assert graph.producer == {one.result: one, two.result: two, three.result: three}
    assert graph.only_user(Y) is one
    assert graph.only_user(one.result) is None


def test_an_output_has_no_only_user() -> None:
    graph = parse_graph("graph g(x: f32[2]) {\n %1 = relu(x) : f32[2]\n %2 = neg(%1) : f32[2]\n return %1, %2\n}")
    assert graph.only_user(graph.nodes[0].result) is None


def test_dead_nodes_go() -> None:
    assert [node.op for node in remove_dead(small()).nodes] == ["add", "relu"]


def test_a_rewrite_replaces_nodes_and_renames_what_follows() -> None:
    def visit(out: Rewriter, node: Node) -> bool:
        if node.op != "relu":
            return False
        (new,) = out.add("tanh", (out.value(node.operands[0]),), (F,), {})
        out.replace(node.result, new)
        return True

    after = rewrite(small(), visit)
    verify(after, check_node)
    assert [node.op for node in after.nodes] == ["add", "tanh", "mul"]
    assert after.nodes[0].source == "model.py:3"
    assert after.producer[after.outputs[0]].op == "tanh"


def test_a_rewrite_without_changes_gives_an_equal_graph() -> None:
    assert rewrite(small(), lambda out, node: False) == small()


def test_two_nodes_are_joined_at_the_place_of_the_one_told() -> None:
    graph = parse_graph("""graph g(x: f32[2,3], y: f32[2,3]) {
      %1 = exp(x)     : f32[2,3]
      %2 = exp(y)     : f32[2,3]
      %3 = add(%1, y) : f32[2,3]
      %4 = mul(%3, %2) : f32[2,3]
      return %4
    }""")
    above, _, joined, _ = graph.nodes
    made = Node("mul", (X, Y), joined.results, {}, "")
    after = merge(graph, [Join(joined, above, made)])
    assert str(after) == str(
        parse_graph("""graph g(x: f32[2,3], y: f32[2,3]) {
      %1 = exp(y)     : f32[2,3]
      %2 = mul(x, y)  : f32[2,3]
      %3 = mul(%2, %1) : f32[2,3]
      return %3
    }""")
    )
    assert merge(graph, []) == graph


def test_an_input_name_is_taken_once() -> None:
    out = Rewriter("g")
    out.input("x", F)
    with pytest.raises(GraphError, match="two inputs named 'x'"):
        out.input("x", F)


def test_an_unknown_input_is_told_with_those_there_are() -> None:
    assert small().input("y") == Y
    with pytest.raises(GraphError, match="no input 'z'; it has x, y"):
        small().input("z")


def test_the_verifier_accepts_a_good_graph() -> None:
    assert verify(small(), check_node) == small()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: replace(g, inputs=(X, X)), "small after Pass: the input list defines x again"),
        (lambda g: replace(g, nodes=g.nodes[1:]), r"relu uses %1 before it is defined"),
        (lambda g: replace(g, outputs=(Value("%9", F),)), "the output list uses %9 before it is defined"),
        (
            lambda g: replace(g, outputs=(Value("%1", TensorType.dense("f32", (3, 2))),)),
            r"the output list uses %1 as f32\[3,2\]; it is f32\[2,3\]",
        ),
        (lambda g: replace(g, nodes=(*g.nodes, g.nodes[0])), "add from model.py:3 defines %1 again"),
        (lambda g: replace(g, nodes=(replace(g.nodes[0], results=()),)), "add from model.py:3 has no result"),
        (
            lambda g: replace(g, nodes=(replace(g.nodes[0], op="ad"), *g.nodes[1:])),
            "ad from model.py:3: there is no op 'ad'",
        ),
    ],
)
def test_the_verifier_names_what_is_wrong_and_where(change: Callable[[Graph], Graph], message: str) -> None:
    broken = change(small())
    with pytest.raises(GraphError, match=message):
        verify(broken, check_node, after="Pass")


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("%1 = add(x, y) : f32[3,2]", r"results must be f32\[2,3\]; they are f32\[3,2\]"),
        ("%1 = gt(x, y) : f32[2,3]", r"results must be i1\[2,3\]"),
        ("%1 = relu(x, y) {epilogue='add(acc, $0)'} : f32[2,3]", "relu has no epilogue slot"),
        ("%1 = matmul(x, w, y) {epilogue='relu(acc)'} : f32[2,4]", "does not use the 1 operands it has"),
        ("%1 = matmul(x, y) : f32[2,3]", "must share K"),
    ],
)
def test_the_verifier_knows_the_shape_rules(node: str, message: str) -> None:
    graph = parse_graph(f"graph g(x: f32[2,3], y: f32[2,3], w: f32[3,4]) {{\n {node}\n return %1\n}}")
    with pytest.raises(GraphError, match=rf"^g: .*{message}"):
        verify(graph, check_node)
