"""GatherUpdates: running statistics of a step by few launches."""

from __future__ import annotations

import pytest

from tests.passes.golden import after
from tritoncnn.passes.gather_updates import GatherUpdates

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
