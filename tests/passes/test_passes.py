"""Each pass on the smallest graph that shows it: golden texts."""

from __future__ import annotations

from textwrap import dedent

import pytest

from tests.targets import CPU
from tritoncnn.ir import Graph, Rewriter, TensorType, parse_graph, verify
from tritoncnn.ops import OPS, Sym, check_node
from tritoncnn.ops.define import sum_to
from tritoncnn.passes.choose_layout import ChooseLayout
from tritoncnn.passes.decompose import Decompose
from tritoncnn.passes.define import Pass
from tritoncnn.passes.flatten_into_matmul import FlattenIntoMatmul
from tritoncnn.passes.fuse_bias_grad import FuseBiasGrad
from tritoncnn.passes.fuse_epilogue import FuseEpilogue
from tritoncnn.passes.fuse_into_reduction import FuseIntoReduction
from tritoncnn.passes.fuse_pointwise import FusePointwise
from tritoncnn.passes.fuse_pool import FusePool
from tritoncnn.passes.fuse_prologue import FusePrologue
from tritoncnn.passes.fuse_statistics import FuseStatistics
from tritoncnn.passes.fuse_sums import FuseSums
from tritoncnn.passes.gather_updates import GatherUpdates
from tritoncnn.passes.mask_before_pool_grad import MaskBeforePoolGrad
from tritoncnn.passes.materialise_padding import MaterialisePadding
from tritoncnn.passes.recompute_light import RecomputeLight
from tritoncnn.passes.recompute_small import RecomputeSmall
from tritoncnn.passes.share_sums import ShareSums
from tritoncnn.passes.simplify import Simplify

STEPS = "stride=[1,1], padding=[0,0], dilation=[1,1]"
POOL = f"window=[2,2], {STEPS.replace('stride=[1,1]', 'stride=[2,2]')}"


def graph(text: str) -> Graph:
    return verify(parse_graph(dedent(text)), check_node)


def after(step: Pass, text: str) -> list[str]:
    """The nodes and the return line of the graph after one pass, without types."""
    new, _ = step(graph(text))
    verify(new, check_node, after=step.name)
    return [line.split("  :")[0].split(" : ")[0].strip() for line in str(new).splitlines()[1:-1]]


def test_simplify_removes_what_changes_nothing() -> None:
    assert after(Simplify(), """
        graph g(x: f32[2,3]) {
          %1 = const() {value=1.0, dtype='f32'} : f32[]
          %2 = mul(x, %1) : f32[2,3]
          %3 = reshape(%2) {shape=[6]} : f32[6]
          %4 = reshape(%3) {shape=[2,3]} : f32[2,3]
          %5 = permute(%4) {dims=[1,0]} : f32[3,2]
          %6 = permute(%5) {dims=[1,0]} : f32[2,3]
          %7 = relu(%6) : f32[2,3]
          %8 = exp(x) : f32[2,3]
          return %7
        }""") == ["%1 = relu(x)", "return %1"]  # fmt: skip


def test_simplify_merges_equal_nodes_and_drops_expand() -> None:
    assert after(Simplify(), """
        graph g(x: f32[2,3], b: f32[3]) {
          %1 = expand(b) {shape=[2,3]} : f32[2,3]
          %2 = add(x, %1) : f32[2,3]
          %3 = add(x, %1) : f32[2,3]
          %4 = mul(%2, %3) : f32[2,3]
          return %4
        }""") == ["%1 = add(x, b)", "%2 = mul(%1, %1)", "return %2"]  # fmt: skip


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


def test_recompute_light_gives_each_reader_a_copy_of_its_own() -> None:
    assert after(RecomputeLight(), """
        graph g(x: f32[8192], m: f32[]) {
          %1 = sub(x, m) : f32[8192]
          %2 = mul(%1, %1) : f32[8192]
          %3 = sum(%2) {dims=[0]} : f32[]
          %4 = relu(%1) : f32[8192]
          return %3, %4
        }""") == [
        "%1 = sub(x, m)", "%2 = mul(%1, %1)", "%3 = sum(%2) {dims=[0]}", "%4 = sub(x, m)", "%5 = relu(%4)", "return %3, %5"
    ]  # fmt: skip


def test_decompose_takes_a_norm_apart() -> None:
    nodes = after(
        Decompose(),
        """
        graph g(x: f32[4,8,3]) {
          %1, %2, %3 = standardize(x) {dims=[2], eps=0.1} : f32[4,8,3], f32[4,8,1], f32[4,8,1]
          return %1
        }""",
    )
    ops = [node.split(" = ")[1].split("(")[0] for node in nodes[:-1]]
    assert (ops.count("mean"), ops.count("sum")) == (1, 1)  # of the numbers, and of the squares of their distances
    assert not any("standardize" in node for node in nodes)


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


def test_filters_with_channels_innermost_are_turned_by_the_kernel_where_few_rows_read_them() -> None:
    def copies(size: int, dtype: str = "f32") -> int:
        out = Rewriter("g")
        x = Sym(out, out.input("x", TensorType.dense(dtype, (2, 16, size, size), (0, 2, 3, 1))))
        w = Sym(out, out.input("w", TensorType.dense(dtype, (32, 16, 3, 3), (0, 2, 3, 1))))
        y = OPS["conv2d"](x, w, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
        new, _ = ChooseLayout(CPU)(out.finish((y.value,)))
        return sum(node.op == "copy" for node in new.nodes)

    assert (copies(20), copies(40), copies(20, "bf16")) == (0, 1, 1)


def test_share_sums_takes_factors_of_the_results_out_of_sums() -> None:
    assert after(ShareSums(), """
        graph g(dy: f32[4,3,5], y: f32[4,3,5], w: f32[3,1], v: f32[1,3,1]) {
          %1 = sum(dy) {dims=[0,2]} : f32[3]
          %2 = mul(dy, y) : f32[4,3,5]
          %3 = mul(%2, w) : f32[4,3,5]
          %4 = sum(%3) {dims=[0,2]} : f32[3]
          %5 = mul(dy, w) : f32[4,3,5]
          %6 = sum(%5) {dims=[0,2]} : f32[3]
          %7 = mul(y, %5) : f32[4,3,5]
          %8 = mul(v, %7) : f32[4,3,5]
          %9 = sum(%8) {dims=[0,2]} : f32[3]
          return %1, %4, %6, %9
        }""") == [
        "%1 = sum(dy) {dims=[0,2]}",
        "%2 = mul(dy, y)",
        "%3 = mul(%2, w)",
        "%4 = sum(%3) {dims=[0,2]}",
        "%5 = mul(dy, w)",
        "%6 = reshape(w) {shape=[3]}",
        "%7 = mul(%1, %6)",
        "%8 = mul(y, %5)",
        "%9 = mul(v, %8)",
        "%10 = reshape(v) {shape=[3]}",
        "%11 = mul(%4, %10)",
        "return %1, %4, %7, %11",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("factor", "dims", "note"),
    [
        ("w: f32[4,1]", "[0]", "w changes along the summed dim"),
        ("w: f32[1,3]", "[1]", "w changes along the summed dim"),
        ("w: f32[3]", "[0,1]", "one sum of all"),
    ],
)
def test_share_sums_leaves_factors_that_change_along_the_sum(factor: str, dims: str, note: str) -> None:
    shape = "f32[]" if dims == "[0,1]" else "f32[3]" if dims == "[0]" else "f32[4]"
    text = f"""
        graph g(x: f32[4,3], {factor}) {{
          %1 = sum(x) {{dims={dims}}} : {shape}
          %2 = mul(x, w) : f32[4,3]
          %3 = sum(%2) {{dims={dims}}} : {shape}
          return %1, %3
        }}"""
    assert after(ShareSums(), text)[2] == f"%3 = sum(%2) {{dims={dims}}}", note


def test_share_sums_counts_a_factor_as_often_as_it_occurs() -> None:
    assert after(ShareSums(), """
        graph g(x: f32[4,3], w: f32[3]) {
          %1 = sum(x) {dims=[0]} : f32[3]
          %2 = mul(x, x) : f32[4,3]
          %3 = sum(%2) {dims=[0]} : f32[3]
          %4 = mul(%2, w) : f32[4,3]
          %5 = mul(w, %4) : f32[4,3]
          %6 = sum(%5) {dims=[0]} : f32[3]
          return %1, %3, %6
        }""")[-3:] == ["%6 = mul(%3, w)", "%7 = mul(%6, w)", "return %1, %3, %7"]  # fmt: skip


def test_recompute_small_gives_each_wide_reader_its_own_value() -> None:
    assert after(RecomputeSmall(), """
        graph g(x: f32[4,300], y: f32[4,300], var: f32[4]) {
          %1 = const() {value=0.5, dtype='f32'} : f32[]
          %2 = add(var, %1) : f32[4]
          %3 = rsqrt(%2) : f32[4]
          %4 = reshape(%3) {shape=[4,1]} : f32[4,1]
          %5 = mul(x, %4) : f32[4,300]
          %6 = add(y, %4) : f32[4,300]
          return %5, %6
        }""") == [
        "%1 = const() {value=0.5, dtype='f32'}",
        "%2 = reshape(var) {shape=[4,1]}",
        "%3 = add(%2, %1)",
        "%4 = rsqrt(%3)",
        "%5 = mul(x, %4)",
        "%6 = add(%2, %1)",
        "%7 = rsqrt(%6)",
        "%8 = add(y, %7)",
        "return %5, %8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("last", "returned"),
    [
        ("%2 = mul(x, %1) : f32[4,3]", "%2, %1"),  # an output
        ("%2 = mul(x, %1) : f32[4,3]\n          %3 = neg(%1) : f32[3]", "%2, %3"),  # a reader as small as it is
        ("%2 = expand(%1) {shape=[4,3]} : f32[4,3]", "%2"),  # a reader into which it does not fuse
    ],
)
def test_recompute_small_keeps_what_is_needed_otherwise(last: str, returned: str) -> None:
    text = f"""
        graph g(x: f32[4,3], v: f32[3]) {{
          %1 = rsqrt(v) : f32[3]
          {last}
          return {returned}
        }}""".replace("[4,3]", "[40,3]")
    assert after(RecomputeSmall(), text)[0] == "%1 = rsqrt(v)"
    assert sum("rsqrt" in line for line in after(RecomputeSmall(), text)) == 1


@pytest.mark.parametrize(("overwritten", "copies"), [("b", 1), ("d", 2)])
def test_recompute_small_reads_nothing_after_it_was_overwritten(overwritten: str, copies: int) -> None:
    text = f"""
        graph g(x: f32[40,3], b: f32[3], c: f32[3], d: f32[3]) {{
          %1 = exp(b) : f32[3]
          %2 = mul(x, %1) : f32[40,3]
          %3 = assign({overwritten}, c) : f32[3]
          %4 = add(x, %1) : f32[40,3]
          return %2, %4, %3
        }}"""
    assert sum("exp" in line for line in after(RecomputeSmall(), text)) == copies


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


UPDATES = """
    graph g(a: f32[3], b: f32[5], x: f32[3], y: f32[5], p: f32[3], n: i64[], m: i64[]) {
      %1 = pointwise(a, x) {expr='add(mul($0, 0.9), mul($1, 0.1))'} : f32[3]
      %2 = pointwise(y, b) {expr='add(mul($1, 0.8), mul($0, 0.2))'} : f32[5]
      %3 = pointwise(n) {expr='add($0, 1)'} : i64[]
      %4 = pointwise(m) {expr='add($0, 1)'} : i64[]
      %5 = assign(a, %1) : f32[3]
      %6 = assign(n, %3) : i64[]
      %7 = assign(b, %2) : f32[5]
      %8 = assign(m, %4) : i64[]
      return %5, %7, %6, %8
    }"""


def test_gather_updates_makes_one_of_all_that_are_alike() -> None:
    assert after(GatherUpdates(), UPDATES) == [
        "%1, %2 = update(a, b, x, y) {count=2, expr='add(mul($0, $2), mul($1, $3))', numbers=[0.9,0.1,0.8,0.2]}",
        "%3, %4 = update(n, m) {count=2, expr='add($0, 1)'}",
        "return %1, %2, %3, %4",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%7 = assign(b, %2) : f32[5]", "%7 = assign(b, %2) : f32[5]\n %9 = neg(%5) : f32[3]"),  # a is read afterwards
        ("return %5", "return %1, %5"),  # its content is a result, too
        ("pointwise(a, x)", "pointwise(a, p)"),  # p is overwritten before the last update
        ("pointwise(a, x)", "pointwise(x, p)"),
    ],
)
def test_gather_updates_keeps_the_order_of_reads_and_writes(old: str, new: str) -> None:
    text = UPDATES.replace("%7 = assign(b", "%10 = assign(p, x) : f32[3]\n      %7 = assign(b").replace(old, new)
    text = text.replace("return", "return %10,")
    lines = after(GatherUpdates(), text)
    assert any(" = pointwise(" in line and "0.9" in line for line in lines), lines


def test_buffers_that_swap_their_contents_are_not_updated_together() -> None:
    """Neither may be read after the other was written, whoever comes first."""
    lines = after(GatherUpdates(), """
        graph g(a: f32[3], b: f32[3], x: f32[3]) {
          %1 = pointwise(b, x) {expr='add($0, $1)'} : f32[3]
          %2 = pointwise(a, x) {expr='add($0, $1)'} : f32[3]
          %3 = assign(a, %1) : f32[3]
          %4 = assign(b, %2) : f32[3]
          return %3, %4
        }""")  # fmt: skip
    assert lines[:2] == [
        "%1 = pointwise(b, x) {expr='add($0, $1)'}",
        "%2 = pointwise(a, x) {expr='add($0, $1)'}",
    ]
    assert lines[2:] == ["%3, %4 = update(a, b, %1, %2) {count=2, expr='$1'}", "return %3, %4"]


def test_more_buffers_than_a_launch_takes_are_several_updates() -> None:
    names = [f"b{i}" for i in range(37)]
    body = "\n".join(
        f"%{2 * i + 1} = pointwise({b}) {{expr='add($0, {i}.5)'}} : f32[{i}]\n"
        f" %{2 * i + 2} = assign({b}, %{2 * i + 1}) : f32[{i}]"
        for i, b in enumerate(names)
    )
    inputs = ", ".join(f"{b}: f32[{i}]" for i, b in enumerate(names))
    returned = ", ".join(f"%{2 * i + 2}" for i in range(37))
    lines = after(GatherUpdates(), f"graph g({inputs}) {{\n {body}\n return {returned}\n}}")
    assert [line.split("count=")[1].split(",")[0] for line in lines[:-1]] == ["16", "16", "5"]
    assert lines[-1] == "return " + ", ".join(f"%{i + 1}" for i in range(37))


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
