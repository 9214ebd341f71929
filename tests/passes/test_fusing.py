"""Passes that make one node of several, each on the smallest graph that shows it: golden texts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import tritoncnn
from tests.passes.golden import POOL, STEPS, after, graph
from tritoncnn.ir import Rewriter, TensorType
from tritoncnn.ops import Sym
from tritoncnn.ops.define import sum_to
from tritoncnn.passes.fuse_bias_grad import FuseBiasGrad
from tritoncnn.passes.fuse_epilogue import FuseEpilogue
from tritoncnn.passes.fuse_into_reduction import FuseIntoReduction
from tritoncnn.passes.fuse_pointwise import MAX_WORDS, FusePointwise
from tritoncnn.passes.fuse_pool import FusePool
from tritoncnn.passes.fuse_prologue import FusePrologue
from tritoncnn.passes.fuse_statistics import FuseStatistics
from tritoncnn.passes.fuse_sums import FuseSums
from tritoncnn.passes.mask_before_pool_grad import MaskBeforePoolGrad


def test_fuse_pointwise_inlines_single_readers_of_one_shape() -> None:
    assert after(FusePointwise(), """
        graph g(x: f32[2,3], b: f32[3]) {
          %1 = const() {value=2.0, dtype='f32'} : f32[]
          %2 = mul(b, %1) : f32[3]
          %3 = add(x, %2) : f32[2,3]
          %4 = relu(%3) : f32[2,3]
          %5 = neg(%4) : f32[2,3]
          %6 = exp(%4) : f32[2,3]
          return %5, %6
        }""") == [
        "%1 = pointwise(b) {expr='mul($0, 2.0)'}",
        "%2 = pointwise(x, %1) {expr='relu(add($0, $1))'}",
        "%3 = pointwise(%2) {expr='neg($0)'}",
        "%4 = pointwise(%2) {expr='exp($0)'}",
        "return %3, %4",
    ]  # fmt: skip


def test_fuse_epilogue_joins_the_later_of_two_convolutions() -> None:
    assert after(FuseEpilogue(), f"""
        graph g(x: f32[2,3,4,4], w: f32[3,3,1,1]) {{
          %1 = conv2d(x, w) {{{STEPS}, groups=1}} : f32[2,3,4,4]
          %2 = conv2d(%1, w) {{{STEPS}, groups=1}} : f32[2,3,4,4]
          %3 = pointwise(%2, %1) {{expr='relu(add($0, $1))'}} : f32[2,3,4,4]
          return %3
        }}""") == [
        f"%1 = conv2d(x, w) {{{STEPS}, groups=1}}",
        f"%2 = conv2d(%1, w, %1) {{{STEPS}, groups=1, epilogue='relu(add(acc, $0))'}}",
        "return %2",
    ]  # fmt: skip


def test_fuse_epilogue_leaves_a_result_with_another_reader_alone() -> None:
    text = """
        graph g(a: f32[2,3], b: f32[3,4]) {
          %1 = matmul(a, b) : f32[2,4]
          %2 = pointwise(%1) {expr='exp($0)'} : f32[2,4]
          return %1, %2
        }"""
    assert FuseEpilogue()(graph(text)) == (graph(text), "")


def test_fuse_pointwise_takes_a_value_read_twice_when_both_readers_come_along() -> None:
    assert after(
        FusePointwise(),
        """
        graph g(x: f32[2,3], dy: f32[2,3]) {
          %1 = sigmoid(x) : f32[2,3]
          %2 = mul(x, %1) : f32[2,3]
          %3 = add(%1, %2) : f32[2,3]
          %4 = mul(dy, %3) : f32[2,3]
          return %4
        }""",
    ) == ["%1 = pointwise(dy, x) {expr='mul($0, add(sigmoid($1), mul($1, sigmoid($1))))'}", "return %1"]


def test_fuse_into_reduction_takes_single_readers() -> None:
    assert after(FuseIntoReduction(), """
        graph g(x: f32[2,3], y: f32[2,3]) {
          %1 = pointwise(x, y) {expr='mul($0, $1)'} : f32[2,3]
          %2 = sum(%1) {dims=[1]} : f32[2]
          %3 = pointwise(x) {expr='exp($0)'} : f32[2,3]
          %4 = sum(%3) {dims=[1]} : f32[2]
          return %2, %3, %4
        }""") == [
        "%1 = sum(x, y) {dims=[1], expr='mul($0, $1)'}",
        "%2 = pointwise(x) {expr='exp($0)'}",
        "%3 = sum(%2) {dims=[1]}",
        "return %1, %2, %3",
    ]  # fmt: skip


@pytest.mark.parametrize(("size", "fused"), [(4, True), (5, False)])
def test_fuse_pool_wants_windows_that_tile_the_picture(size: int, fused: bool) -> None:
    new, note = FusePool()(graph(f"""
        graph g(x: f32[2,3,{size},4], w: f32[5,3,1,1]) {{
          %1 = conv2d(x, w) {{{STEPS}, groups=1}} : f32[2,5,{size},4]
          %2, %3 = max_pool2d(%1) {{{POOL}, ceil_mode=False}} : f32[2,5,2,2], u8[2,5,2,2]
          return %2
        }}"""))  # fmt: skip
    assert [node.op for node in new.nodes] == (["conv2d"] if fused else ["conv2d", "max_pool2d"])
    assert bool(note) == fused


def test_fuse_pool_leaves_a_pooling_that_has_an_epilogue() -> None:
    """In the convolution's kernel pooling comes last: a relu behind it would be lost."""
    new, note = FusePool()(graph(f"""
        graph g(x: f32[2,3,4,4], w: f32[5,3,1,1]) {{
          %1 = conv2d(x, w) {{{STEPS}, groups=1}} : f32[2,5,4,4]
          %2, %3 = max_pool2d(%1) {{{POOL}, ceil_mode=False, epilogue='relu(acc)'}} : f32[2,5,2,2], u8[2,5,2,2]
          return %2
        }}"""))  # fmt: skip
    assert [node.op for node in new.nodes] == ["conv2d", "max_pool2d"]
    assert not note


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (0, 1, 3, 2), (0, 3, 1, 2)])
def test_a_convolution_its_pooling_and_what_follows_agree_with_torch(order: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.BatchNorm2d(4)
    net, x = nn.Sequential(*(layers[i] for i in order)).eval(), torch.randn(2, 2, 10, 10)
    with torch.no_grad():
        torch.testing.assert_close(tritoncnn.compile(net, x)(x), net(x), rtol=1e-5, atol=1e-5)


def test_mask_before_pool_grad_masks_the_pooled_gradient() -> None:
    sizes = "input_shape=[2,3,4,4], " + POOL
    assert after(MaskBeforePoolGrad(), f"""
        graph g(x: f32[2,3,4,4], dy: f32[2,3,2,2]) {{
          %1 = relu(x) : f32[2,3,4,4]
          %2, %3 = max_pool2d(%1) {{{POOL}, ceil_mode=False}} : f32[2,3,2,2], u8[2,3,2,2]
          %4 = max_pool2d_grad(dy, %3) {{{sizes}}} : f32[2,3,4,4]
          %5 = const() {{value=0.0, dtype='f32'}} : f32[]
          %6 = le(%1, %5) : i1[2,3,4,4]
          %7 = where(%6, %5, %4) : f32[2,3,4,4]
          return %2, %7
        }}""")[2:] == [
        "%4 = const() {value=0.0, dtype='f32'}",
        "%5 = le(%2, %4)",
        "%6 = const() {value=0.0, dtype='f32'}",
        "%7 = where(%5, %6, dy)",
        f"%8 = max_pool2d_grad(%7, %3) {{{sizes}}}",
        "return %2, %8",
    ]  # fmt: skip


def test_fuse_bias_grad_takes_the_sum_whichever_comes_first() -> None:
    total = "%1 = sum(dy) {dims=[0,2,3]} : f32[5]"
    wgrad = f"%2 = conv2d_wgrad(x, dy) {{filter_shape=[5,3,1,1], {STEPS}, groups=1}} : f32[5,3,1,1]"
    for first, second in ((total, wgrad), (wgrad, total)):
        new = after(FuseBiasGrad(), f"""
            graph g(x: f32[2,3,4,4], dy: f32[2,5,4,4]) {{
              {first}
              {second}
              return %1, %2
            }}""")  # fmt: skip
        assert new == [
            f"%1, %2 = conv2d_wgrad(x, dy) {{filter_shape=[5,3,1,1], {STEPS}, groups=1, bias=True}}", "return %2, %1",
        ]  # fmt: skip


@pytest.mark.parametrize("pictures", [1, 2])
def test_the_gradient_of_a_broadcast_bias_sums_over_pictures_even_if_there_is_one(pictures: int) -> None:
    """So that the filter gradient finds it."""
    out = Rewriter("g")
    dy = Sym(out, out.input("dy", TensorType.dense("f32", (pictures, 5, 4, 4))))
    db = sum_to(dy, (1, 5, 1, 1))
    assert tuple(db.shape) == (1, 5, 1, 1)
    summed, _ = out.finish((db.value,)).nodes
    assert (summed.op, summed.attrs["dims"]) == ("sum", (0, 2, 3))


def test_fuse_epilogue_leaves_further_results_to_those_who_read_them_later() -> None:
    text = """
        graph g(x: f32[4,8], w: f32[8]) {
          %1, %2, %3 = standardize_rows(x) {eps=0.1} : f32[4,8], f32[4,1], f32[4,1]
          MIDDLE
          %4 = pointwise(%1, w) {expr='mul($0, $1)'} : f32[4,8]
          %6 = pointwise(%3) {expr='exp($0)'} : f32[4,1]
          return %4, %6
        }"""
    fused = after(FuseEpilogue(), text.replace("MIDDLE", ""))
    assert fused[0] == "%1, %2, %3 = standardize_rows(x, w) {eps=0.1, epilogue='mul(acc, $0)'}"
    early = after(
        FuseEpilogue(),
        text.replace("MIDDLE", "%5 = pointwise(%2) {expr='exp($0)'} : f32[4,1]").replace("%6 }", "%5, %6 }"),
    )
    assert "epilogue" not in " ".join(early)


def test_a_convolution_finds_the_statistics_that_its_norm_needs() -> None:
    def text(dims: str, groups: int) -> str:
        return f"""
        graph g(x: f32[2,4,8,8], w: f32[8,{4 // groups},3,3]) {{
          %1 = conv2d(x, w) {{{STEPS}, groups={groups}}} : f32[2,8,6,6]
          %2, %3, %4 = standardize(%1) {{dims={dims}, eps=0.5}} : f32[2,8,6,6], f32[1,8,1,1], f32[1,8,1,1]
          return %2, %3
        }}"""

    fused = after(FuseStatistics(), text("[0,2,3]", 2))
    assert fused[0] == f"%1, %2, %3 = conv2d(x, w) {{{STEPS}, groups=2, statistics=True}}"
    assert [line.split("=")[1].split("(")[0].strip() for line in fused[1:-1]].count("reshape") == 2
    assert "standardize" in after(FuseStatistics(), text("[0,2,3]", 4))[1]  # depthwise

    def moved(shape: str, by: str) -> str:
        return (
            text("[0,2,3]", 2)
            .replace("standardize(%1)", "standardize(%5)")
            .replace("w: f32", f"b: f32[{shape}], w: f32")
            .replace("%2, %3, %4 =", f"%5 = add({by}) : f32[2,8,6,6]\n%2, %3, %4 =")
            .replace("return %2", "%6 = sub(%5, %3) : f32[2,8,6,6]\nreturn %2, %6")
        )

    for by in ("%1, b", "b, %1"):
        for shape in ("8,1,1", "1,8,1,1"):
            found = "\n".join(after(FuseStatistics(), moved(shape, by)))
            assert "statistics=True" in found
            assert found.count("%4") == 1  # the sum itself is read by nothing
        for shape in ("6,6", "2,8,6,6", "1,1,1,1"):
            assert "standardize" in "\n".join(after(FuseStatistics(), moved(shape, by)))  # no number for each channel


def test_pointwise_work_before_a_convolution_of_one_tap_moves_into_its_loads() -> None:
    def text(size: int, taps: int, extra: str = "") -> str:
        out = size - taps + 1
        return f"""
        graph g(x: f32[2,4,{size},{size}], s: f32[4,1,1], b: f32[8,1,1], w: f32[8,4,{taps},{taps}]) {{
          %1 = pointwise(x, s) {{expr='relu(mul($0, $1))'}} : f32[2,4,{size},{size}]
          %2 = conv2d(%1, w, b) {{{STEPS}, groups=1, epilogue='add(acc, $0)'}} : f32[2,8,{out},{out}]
          return %2{extra}
        }}"""

    fused = after(FusePrologue(), text(9, 1))
    assert (
        fused[0]
        == f"%1 = conv2d(x, w, b, s) {{{STEPS}, groups=1, epilogue='add(acc, $0)', prologue='relu(mul(acc, $1))'}}"
    )
    for kept in (text(9, 3), text(2, 1), text(9, 1, ", %1")):  # more taps; a small picture; another reader
        assert after(FusePrologue(), kept)[0].startswith("%1 = pointwise")


def test_fuse_pointwise_inlines_what_is_small_beside_its_reader() -> None:
    text = """
        graph g(x: f32[40,3], v: f32[3]) {
          %1 = rsqrt(v) : f32[3]
          %2 = mul(x, %1) : f32[40,3]
          return %2
        }"""
    assert after(FusePointwise(), text) == ["%1 = pointwise(x, v) {expr='mul($0, rsqrt($1))'}", "return %1"]
    few = after(FusePointwise(), text.replace("40", "4"))
    assert few[0] == "%1 = pointwise(v) {expr='rsqrt($0)'}"


PAIR = """
    graph g(dy: f32[4,3], y: f32[4,3], w: f32[3]) {
      %1 = sum(dy) {dims=[0]} : f32[3]
      %2 = neg(%1) : f32[3]
      %3 = exp(y) : f32[4,3]
      %4 = sum(%3, dy) {dims=[0], expr='mul($0, $1)'} : f32[3]
      return %2, %4
    }"""


def test_fuse_sums_reads_a_tensor_once_for_two_sums() -> None:
    assert after(FuseSums(), PAIR) == [
        "%1 = exp(y)",
        "%2, %3 = sum(dy, %1) {dims=[0], expr='$0', also='mul($1, $0)'}",
        "%4 = neg(%2)",
        "return %4, %3",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%4 = sum(%3, dy) {dims=[0], expr='mul($0, $1)'}", "%4 = sum(%3, y) {dims=[0], expr='mul($0, $1)'}"),  # not dy
        ("expr='mul($0, $1)'} : f32[3]", "expr='mul($0, $1)'} : f32[4]"),
        ("%4 = sum(%3, dy) {dims=[0], expr='mul($0, $1)'}", "%4 = amax(%3, dy) {dims=[0], expr='mul($0, $1)'}"),
        (
            "%4 = sum(%3, dy) {dims=[0], expr='mul($0, $1)'}",
            "%4 = sum(%2, dy) {dims=[0], expr='mul($0, $1)'}",
        ),  # follows
    ],
)
def test_fuse_sums_leaves_other_sums_alone(old: str, new: str) -> None:
    text = PAIR.replace(old, new)
    if "f32[4]\n" in text.split("expr")[1]:
        text = text.replace("dims=[0], expr", "dims=[1], expr")
    assert not any("also" in line for line in after(FuseSums(), text))


def test_a_chain_of_a_thousand_ops_is_cut_into_passes() -> None:
    """What is iterated, as a fractal is, is no deeper for the compiler than it is long."""

    class Chain(nn.Module):
        def forward(self, x: torch.Tensor, small: torch.Tensor) -> torch.Tensor:
            for _ in range(500):
                x, small = torch.sin(x) + 0.5, torch.cos(small) + 0.25
            return x * small

    torch.manual_seed(0)
    x, small = torch.randn(3, 5, 4, 4), torch.randn(1, 5, 1, 1)
    model = tritoncnn.compile(Chain(), (x, small))
    # Both iterations converge: what is rounded on the way hardly matters at the end.
    torch.testing.assert_close(model(x, small), Chain()(x, small), rtol=1e-5, atol=1e-6)
    longest = max(len(str(node.attrs["expr"]).split("(")) for node in model.plan.graph.nodes if "expr" in node.attrs)
    assert longest <= MAX_WORDS
