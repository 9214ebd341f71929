"""The graph's text: what is printed can be read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritoncnn.errors import GraphError
from tritoncnn.ir import (
    DTYPE_BYTES,
    Expr,
    Graph,
    Rewriter,
    TensorType,
    parse_expr,
    parse_graph,
    parse_type,
    print_graph,
)

names = st.from_regex(r"[a-z_]{1,6}(\.[a-z0-9_]{1,4}){0,2}", fullmatch=True)
words = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
sizes = st.integers(0, 5) | st.integers(0, 2**40)
dtypes = st.sampled_from(sorted(DTYPE_BYTES))
strings = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=12)
attrs = st.dictionaries(
    words,
    st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.lists(st.integers(-9, 2**33), max_size=4).map(tuple)
    | strings,
    max_size=4,
)
sources = st.just("") | st.from_regex(r"[a-z]{1,8}/[a-z]{1,8}\.py:[1-9][0-9]{0,3}", fullmatch=True)


@st.composite
def types(draw: st.DrawFn) -> TensorType:
    shape = tuple(draw(st.lists(sizes, max_size=5)))
    kind = draw(st.sampled_from(("row-major", "order", "strides")))
    if kind == "strides":
        strides = draw(st.lists(st.integers(-3, 1000), min_size=len(shape), max_size=len(shape)))
        return TensorType(draw(dtypes), shape, tuple(strides))
    order = draw(st.permutations(range(len(shape)))) if kind == "order" else None
    return TensorType.dense(draw(dtypes), shape, order)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    out = Rewriter(draw(words))
    values = [out.input(name, draw(types())) for name in draw(st.lists(names, max_size=3, unique=True))]
    for _ in range(draw(st.integers(0, 5))):
        operands = tuple(draw(st.lists(st.sampled_from(values), max_size=3))) if values else ()
        results = tuple(draw(st.lists(types(), min_size=1, max_size=2)))
        values += out.add(draw(words), operands, results, draw(attrs), draw(sources))
    return out.finish(tuple(draw(st.lists(st.sampled_from(values), max_size=2))) if values else ())


@given(graphs())
def test_a_printed_graph_reads_back_as_the_same_graph(graph: Graph) -> None:
    read = parse_graph(print_graph(graph))
    assert read == graph
    assert [node.attrs for node in read.nodes] == [node.attrs for node in graph.nodes]
    assert [node.source for node in read.nodes] == [node.source for node in graph.nodes]


@given(types())
def test_a_printed_type_reads_back_as_the_same_type(type: TensorType) -> None:
    assert parse_type(str(type)) == type


leaves = st.sampled_from(["acc", "$0", "$1", "$12"]).map(Expr) | st.floats(allow_nan=False).map(lambda x: Expr(repr(x)))
trees = st.recursive(
    leaves, lambda inner: st.builds(Expr, words, st.lists(inner, min_size=1, max_size=3).map(tuple)), max_leaves=8
)


@given(trees)
def test_a_printed_expression_reads_back_as_the_same_expression(tree: Expr) -> None:
    assert parse_expr(str(tree)) == tree


def test_a_graph_is_text_that_people_can_read() -> None:
    out = Rewriter("small")
    x = out.input("x", TensorType.dense("f32", (1, 1, 28, 28)))
    w = out.input("conv1.weight", TensorType.dense("f32", (6, 1, 5, 5), (2, 3, 1, 0)))
    attrs = {"stride": (1, 1), "slope": 0.5, "on": True, "expr": "relu($0)"}
    (y,) = out.add(
        "conv2d", (x, w), (TensorType.dense("f32", (1, 6, 24, 24), (0, 2, 3, 1)),), attrs, "models/lenet.py:19"
    )
    assert print_graph(out.finish((y,))) == (
        "graph small(x: f32[1,1,28,28], conv1.weight: f32[6,1,5,5]@2,3,1,0) {\n"
        "  %1 = conv2d(x, conv1.weight) {stride=[1,1], slope=0.5, on=True, expr='relu($0)'} : "
        "f32[1,6,24,24]@0,2,3,1  # models/lenet.py:19\n"
        "  return %1\n"
        "}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "graph text starts with"),
        ("graph g() {\n  %1 = relu(x) : f32[]\n  return %1\n}", "uses x before it is defined"),
        ("graph g(x: f32[]) {\n  x = relu(x) : f32[]\n  return x\n}", "defines x twice"),
        ("graph g(x: f32[]) {\n  %1 relu(x)\n  return %1\n}", "a node reads"),
        ("graph g(x: f32[]) {\n  %1, %2 = relu(x) : f32[]\n  return %1\n}", "2 results but 1 types"),
        ("graph g(x: f32[]) {\n  %1 = relu(x) : f32[]\n}", "a graph ends with 'return VALUES'"),
    ],
)
def test_text_that_is_no_graph_is_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        parse_graph(text)


@pytest.mark.parametrize("text", ["", "relu(", "relu(a))", "relu a", "(a)", "relu(a,)"])
def test_text_that_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(GraphError, match="an expression reads like"):
        parse_expr(text)


@pytest.mark.parametrize("text", ["f32", "f32[2", "f32[a]", "f32[2]@strides(1", "[2]"])
def test_text_that_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(GraphError, match="a type reads like"):
        parse_type(text)
