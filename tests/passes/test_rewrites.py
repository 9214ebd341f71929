"""Passes that write a value otherwise or compute it elsewhere, each on the smallest graph that shows it: golden texts."""

from __future__ import annotations

import pytest

from tests.passes.golden import after
from tritoncnn.passes.decompose import Decompose
from tritoncnn.passes.recompute_light import RecomputeLight
from tritoncnn.passes.recompute_small import RecomputeSmall
from tritoncnn.passes.share_sums import ShareSums
from tritoncnn.passes.simplify import Simplify


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


def test_simplify_adds_up_repeated_elements_once() -> None:
    assert after(Simplify(), """
        graph g(x: f32[4,8,1,1], k: i64[4,1]) {
          %1 = expand(x) {shape=[4,8,7,7]} : f32[4,8,7,7]
          %2 = sum(%1) {dims=[0,2,3]} : f32[8]
          %3 = sum(%1) {dims=[0]} : f32[8,7,7]
          %4 = expand(k) {shape=[4,3]} : i64[4,3]
          %5 = sum(%4) {dims=[1]} : i64[4]
          return %2, %3, %5
        }""") == [
        "%1 = expand(x) {shape=[4,8,7,7]}", "%2 = sum(x) {dims=[0,2,3]}", "%3 = const() {value=49.0, dtype='f32'}",
        "%4 = mul(%2, %3)", "%5 = sum(%1) {dims=[0]}", "%6 = expand(k) {shape=[4,3]}", "%7 = sum(%6) {dims=[1]}",
        "return %4, %5, %7",
    ]  # fmt: skip


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
