"""A convolution of lines and a linear layer on words are one launch with all that follows them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import tritoncnn
import tritoncnn.functional as TF
from tests.passes.golden import after, graph, lines, same_meaning
from tritoncnn.functional import programs
from tritoncnn.passes.sink_reshape import SinkReshape

CONV = "{stride=[1,1], padding=[0,0], dilation=[1,1]}"


def test_a_sum_over_dims_that_are_not_there_before_the_reshape_stays() -> None:
    text = """
        graph g(x: f32[2,3], w: f32[3,8]) {
          %1 = matmul(x, w) : f32[2,8]
          %2 = reshape(%1) {shape=[2,1,8]} : f32[2,1,8]
          %3 = sum(%2) {dims=[1]} : f32[2,8]
          return %3
        }"""
    assert after(SinkReshape(), text)[-2].endswith("{dims=[1]}")


def test_pointwise_work_its_operands_and_reductions_come_before_the_reshape() -> None:
    before = graph(f"""
        graph g(x: f32[2,3,1,9], w: f32[5,3,1,1], b: f32[5,1], r: f32[2,5,9]) {{
          %1 = conv2d(x, w) {CONV} : f32[2,5,1,9]
          %2 = reshape(%1) {{shape=[2,5,9]}} : f32[2,5,9]
          %3 = add(%2, b) : f32[2,5,9]
          %4 = exp(r) : f32[2,5,9]
          %5 = mul(%4, %3) : f32[2,5,9]
          %6 = sum(%5) {{dims=[0,2]}} : f32[5]
          return %5, %6
        }}""")
    moved, note = SinkReshape()(before)
    assert lines(moved) == [
        f"%1 = conv2d(x, w) {CONV}",
        "%2 = reshape(b) {shape=[1,5,1,1]}",
        "%3 = add(%1, %2)",
        "%4 = reshape(r) {shape=[2,5,1,9]}",
        "%5 = exp(%4)",
        "%6 = mul(%5, %3)",
        "%7 = reshape(%6) {shape=[2,5,9]}",
        "%8 = sum(%6) {dims=[0,2,3]}",
        "return %7, %8",
    ]
    assert note == "moved 3 ops before a reshape"
    assert same_meaning(before, moved)


@pytest.mark.parametrize("text", [
    # No kernel with a slot makes what is reshaped.
    """
        graph g(x: f32[2,5,1,9]) {
          %1 = reshape(x) {shape=[2,5,9]} : f32[2,5,9]
          %2 = relu(%1) : f32[2,5,9]
          return %2
        }""",
    # A dim that was joined with another is broadcast alone.
    f"""
        graph g(x: f32[2,3,1,9], w: f32[5,3,1,1], r: f32[9,1]) {{
          %1 = conv2d(x, w) {CONV} : f32[2,5,1,9]
          %2 = reshape(%1) {{shape=[2,9,5]}} : f32[2,9,5]
          %3 = add(%2, r) : f32[2,9,5]
          return %3
        }}""",
    # Rows that were split are reduced.
    """
        graph g(a: f32[6,4], b: f32[4,5]) {
          %1 = matmul(a, b) : f32[6,5]
          %2 = reshape(%1) {shape=[2,3,5]} : f32[2,3,5]
          %3 = sum(%2) {dims=[1]} : f32[2,5]
          return %3
        }""",
    # What is reshaped is the smaller operand.
    f"""
        graph g(x: f32[1,3,1,9], w: f32[5,3,1,1], r: f32[2,5,9]) {{
          %1 = conv2d(x, w) {CONV} : f32[1,5,1,9]
          %2 = reshape(%1) {{shape=[5,9]}} : f32[5,9]
          %3 = add(%2, r) : f32[2,5,9]
          return %3
        }}""",
])  # fmt: skip
def test_other_reshapes_stay(text: str) -> None:
    assert SinkReshape()(graph(text)) == (graph(text), "")


def test_rows_that_were_split_and_what_is_added_to_all_of_them_come_together_again() -> None:
    text = """
        graph g(a: f32[6,4], b: f32[4,5], s: f32[5], r: f32[2,3,5]) {
          %1 = matmul(a, b) : f32[6,5]
          %2 = reshape(%1) {shape=[2,3,5]} : f32[2,3,5]
          %3 = mul(%2, s) : f32[2,3,5]
          %4 = add(%3, r) : f32[2,3,5]
          %5 = sum(%4) {dims=[2]} : f32[2,3]
          return %4, %5
        }"""
    assert after(SinkReshape(), text) == [
        "%1 = matmul(a, b)",
        "%2 = reshape(s) {shape=[1,5]}",
        "%3 = mul(%1, %2)",
        "%4 = reshape(r) {shape=[6,5]}",
        "%5 = add(%3, %4)",
        "%6 = reshape(%5) {shape=[2,3,5]}",
        "%7 = sum(%6) {dims=[2]}",
        "return %6, %7",
    ]


LINES = [
    ("conv1d", nn.Sequential(nn.Conv1d(4, 6, 3), nn.ReLU())),
    ("conv1d and batch norm", nn.Sequential(nn.Conv1d(4, 6, 3, 2), nn.BatchNorm1d(6), nn.SiLU())),
    ("depthwise conv1d", nn.Sequential(nn.Conv1d(4, 4, 3, groups=4), nn.Hardswish())),
    ("transposed", nn.Sequential(nn.ConvTranspose1d(4, 6, 4, 2, 1), nn.LeakyReLU())),
    ("linear on words", nn.Sequential(nn.Linear(17, 6), nn.GELU())),
    ("of one sample", nn.Sequential(nn.Conv1d(4, 6, 3), nn.GELU())),
]


@pytest.mark.parametrize(("name", "module"), LINES, ids=[line[0] for line in LINES])
def test_a_layer_on_lines_is_one_launch(name: str, module: nn.Module) -> None:
    torch.manual_seed(0)
    x = torch.randn(*(() if name == "of one sample" else (2,)), 4, 17)
    model = tritoncnn.compile(module.eval(), x)
    assert [call.node.op for call in model.plan.calls if call.node.op != "copy"] in (
        ["conv2d"],
        ["conv2d_dgrad"],
        ["matmul"],
    )
    torch.testing.assert_close(model(x), module(x).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_residual_of_a_functional_conv1d_is_added_before_rounding(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(
        programs, "make_plan", lambda *given, make=programs.make_plan: made.append(make(*given)) or made[-1]
    )
    torch.manual_seed(0)
    # Integers: sums are exact in f32, so that one rounding at the end gives exactly the rounded exact result.
    x, w, r = (torch.randint(-8, 9, shape).to(dtype) for shape in ((2, 16, 33), (8, 16, 3), (2, 8, 31)))
    y = TF.conv1d(x, w, residual=r, activation="relu")
    wanted = torch.relu(torch.nn.functional.conv1d(x.double(), w.double()) + r.double()).to(dtype)
    assert torch.equal(y, wanted)
    assert [call.node.op for plan in made for call in plan.calls if call.node.op != "copy"] == ["conv2d"]


def test_what_another_reader_cannot_follow_stays_behind_the_reshape() -> None:
    """Else the tensor would be read in two shapes, and the sum could not take in the product."""
    before = graph(f"""
        graph g(x: f32[2,6,3,3], w: f32[6,6,1,1], m: f32[2,2,1,1]) {{
          %1 = conv2d(x, w) {CONV} : f32[2,6,3,3]
          %2 = reshape(%1) {{shape=[2,2,3,9]}} : f32[2,2,3,9]
          %3 = relu(%2) : f32[2,2,3,9]
          %4 = sub(%2, m) : f32[2,2,3,9]
          return %3, %4
        }}""")
    assert SinkReshape()(before) == (before, "")


def test_work_on_many_numbers_comes_before_a_reshape_though_no_product_made_them() -> None:
    text = """
        graph g(x: f32[2,2,8,256]) {
          %1 = exp(x) : f32[2,2,8,256]
          %2 = reshape(%1) {shape=[2,16,16,16]} : f32[2,16,16,16]
          %3 = relu(%2) : f32[2,16,16,16]
          return %3
        }"""
    assert after(SinkReshape(), text) == [
        "%1 = exp(x)",
        "%2 = relu(%1)",
        "%3 = reshape(%2) {shape=[2,16,16,16]}",
        "return %3",
    ]
