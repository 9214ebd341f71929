"""Passes that choose orders in memory, each on the smallest graph that shows it: golden texts."""

from __future__ import annotations

from tests.passes.golden import STEPS, graph
from tests.targets import CPU
from tritoncnn.ir import Rewriter, TensorType
from tritoncnn.ops import OPS, Sym
from tritoncnn.passes.choose_layout import ChooseLayout
from tritoncnn.passes.flatten_into_matmul import FlattenIntoMatmul
from tritoncnn.passes.materialise_padding import MaterialisePadding


def test_materialise_padding_pads_pictures_of_few_channels_only() -> None:
    for channels, padded in ((1, True), (16, True), (17, False)):
        text = f"""
            graph g(x: f32[2,{channels},4,4], w: f32[5,{channels},3,3]) {{
              %1 = conv2d(x, w) {{stride=[1,1], padding=[1,1], dilation=[1,1], groups=1}} : f32[2,5,4,4]
              return %1
            }}"""
        new, _ = MaterialisePadding()(graph(text))
        assert [node.op for node in new.nodes] == (["pad2d", "conv2d"] if padded else ["conv2d"])


def test_flatten_into_matmul_leaves_a_weight_with_two_readers_alone() -> None:
    text = """
        graph g(x: f32[2,3,4,4], w: f32[5,48]) {
          %1 = reshape(x) {shape=[2,48]} : f32[2,48]
          %2 = permute(w) {dims=[1,0]} : f32[48,5]
          %3 = matmul(%1, %2) : f32[2,5]
          %4 = exp(w) : f32[5,48]
          return %3, %4
        }"""
    assert FlattenIntoMatmul()(graph(text)) == (graph(text), "")


def test_choose_layout_copies_only_where_a_view_cannot_be() -> None:
    new, _ = ChooseLayout(CPU)(graph(f"""
        graph g(x: f32[2,3,4,4], w: f32[5,3,1,1]) {{
          %1 = conv2d(x, w) {{{STEPS}, groups=1}} : f32[2,5,4,4]
          %2 = reshape(%1) {{shape=[2,80]}} : f32[2,80]
          return %2
        }}"""))  # fmt: skip
    assert [node.op for node in new.nodes] == [
        "copy",
        "copy",
        "conv2d",
        "copy",
        "reshape",
    ]  # x to N,H,W,C, w to R,S,C,K
    assert new.nodes[2].result.type.order == (0, 2, 3, 1)


def test_filters_with_channels_innermost_are_turned_by_the_kernel_where_few_rows_read_them() -> None:
    def copies(size: int, dtype: str = "f32") -> int:
        out = Rewriter("g")
        x = Sym(out, out.input("x", TensorType.dense(dtype, (2, 16, size, size), (0, 2, 3, 1))))
        w = Sym(out, out.input("w", TensorType.dense(dtype, (32, 16, 3, 3), (0, 2, 3, 1))))
        y = OPS["conv2d"](x, w, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
        new, _ = ChooseLayout(CPU)(out.finish((y.value,)))
        return sum(node.op == "copy" for node in new.nodes)

    assert (copies(20), copies(40), copies(20, "bf16")) == (0, 1, 1)
