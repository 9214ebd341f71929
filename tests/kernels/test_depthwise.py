"""Convolutions with one channel in a group, and their gradients, against torch in f64, over random sizes and layouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import triton
from hypothesis import given
from hypothesis import strategies as st
from triton import knobs

from tests.kernels.cases import assert_exact, assert_within, examples, execute, floats, integers, layouts, seeds
from tests.kernels.run import place
from tests.targets import CPU
from tritoncnn.ir import TensorType
from tritoncnn.kernels.conv2d import conv2d
from tritoncnn.kernels.conv2d_dgrad import conv2d_dgrad
from tritoncnn.kernels.conv2d_wgrad import conv2d_wgrad
from tritoncnn.kernels.depthwise import pick_split
from tritoncnn.ops.conv_torch import conv_dgrad_torch, conv_torch, conv_wgrad_torch
from tritoncnn.ops.slot import make_slot

dense = TensorType.dense
pytestmark = pytest.mark.skipif(
    knobs.runtime.interpret and triton.__version__ >= "3.9",
    reason="the interpreter of Triton 3.9 makes i32 of a mask that joins scalars with a tensor, and then refuses it",
)


@dataclass(frozen=True)
class Problem:
    x: tuple[int, ...]
    w: tuple[int, ...]
    y: tuple[int, ...]
    steps: dict[str, Any]

    @property
    def numbers(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
        """In the order of the references in plain torch."""
        return self.steps["stride"], self.steps["padding"], self.steps["dilation"], self.steps["groups"]


@st.composite
def problems(draw: Any) -> Problem:
    axes, C, M = draw(st.sampled_from((2, 2, 3))), draw(st.sampled_from((2, 3, 8, 17, 70))), draw(st.integers(1, 3))
    x, w, y, paddings = [draw(st.integers(0, 3)), C], [C * M, 1], [0, C * M], []
    stride, dilation = (tuple(draw(st.integers(1, 3)) for _ in range(axes)) for _ in range(2))
    for U, gap in zip(stride, dilation, strict=True):
        R, before, after = draw(st.integers(1, 6 if axes == 2 else 3)), draw(st.integers(0, 2)), draw(st.integers(0, 2))
        reach = gap * (R - 1) + 1
        H = max(reach - before - after, 1) + draw(st.integers(0, 6 if axes == 2 else 3))
        x.append(H)
        w.append(R)
        y.append((H + before + after - reach) // U + 1)
        paddings += [before, after]
    y[0] = x[0]
    steps = {"stride": stride, "padding": tuple(paddings), "dilation": dilation, "groups": C}
    return Problem(tuple(x), tuple(w), tuple(y), steps)


def channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (0, *range(2, len(shape)), 1)


def filters_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*range(2, len(shape)), 1, 0)


@examples(8)
@given(problems(), st.data(), seeds, st.booleans())
def test_depthwise_convolution_agrees_with_torch(p: Problem, data: st.DataObject, seed: int, wide: bool) -> None:
    y_type, x_type = (data.draw(layouts(shape, channels_last(shape))) for shape in (p.y, p.x))
    w_type = data.draw(layouts(p.w, filters_last(p.w)))
    launch = conv2d(y_type, x_type, w_type, **p.steps, target=CPU)
    for kind in (integers, floats):
        x, w = place(x_type, kind(p.x, seed)), place(w_type, kind(p.w, seed + 1))
        (y,) = execute(launch, [y_type], [x, w], wide=wide)
        wanted = conv_torch(x.double(), w.double(), *p.numbers)
        if kind is integers:
            assert_exact(y, wanted)
        else:
            magnitude = conv_torch(x.double().abs(), w.double().abs(), *p.numbers)
            assert_within(y, wanted, magnitude, torch.Size(p.w[2:]).numel())


@examples(8)
@given(problems(), st.data(), seeds, st.booleans())
def test_depthwise_input_gradient_agrees_with_torch(p: Problem, data: st.DataObject, seed: int, wide: bool) -> None:
    dx_type, dy_type = (data.draw(layouts(shape, channels_last(shape))) for shape in (p.x, p.y))
    w_type = data.draw(layouts(p.w, filters_last(p.w)))
    launch = conv2d_dgrad(dx_type, dy_type, w_type, **p.steps, target=CPU)
    for kind in (integers, floats):
        dy, w = place(dy_type, kind(p.y, seed)), place(w_type, kind(p.w, seed + 1))
        (dx,) = execute(launch, [dx_type], [dy, w], wide=wide)
        wanted = conv_dgrad_torch(dy.double(), w.double(), p.x, *p.numbers)
        if kind is integers:
            assert_exact(dx, wanted)
        else:
            magnitude = conv_dgrad_torch(dy.double().abs(), w.double().abs(), p.x, *p.numbers)
            assert_within(dx, wanted, magnitude, torch.Size(p.w[2:]).numel() * p.w[0] // p.x[1])


@examples(8)
@given(problems(), st.data(), seeds, st.booleans(), st.booleans())
def test_depthwise_filter_gradient_agrees_with_torch(
    p: Problem, data: st.DataObject, seed: int, bias: bool, wide: bool
) -> None:
    x_type, dy_type = (data.draw(layouts(shape, channels_last(shape))) for shape in (p.x, p.y))
    dw_type, db_type = data.draw(layouts(p.w, filters_last(p.w))), data.draw(layouts(p.w[:1]))
    launches = conv2d_wgrad(dw_type, db_type if bias else None, x_type, dy_type, **p.steps, target=CPU)
    for kind in (integers, floats):
        x, dy = place(x_type, kind(p.x, seed)), place(dy_type, kind(p.y, seed + 1))
        dw, *db = execute(launches, [dw_type, db_type] if bias else [dw_type], [x, dy], wide=wide)
        wanted = conv_wgrad_torch(x.double(), dy.double(), p.w, *p.numbers)
        pixels = (0, *range(2, dy.dim()))
        if kind is integers:
            assert_exact(dw, wanted)
            assert not bias or torch.equal(db[0].double(), dy.double().sum(pixels))
        else:
            length = dy.numel() // p.y[1]
            assert_within(dw, wanted, conv_wgrad_torch(x.double().abs(), dy.double().abs(), p.w, *p.numbers), length)
            for sums in db:
                assert_within(sums, dy.double().sum(pixels), dy.double().abs().sum(pixels), length)


@examples(4)
@given(problems(), seeds)
def test_depthwise_epilogues_see_the_coordinates_of_the_result(p: Problem, seed: int) -> None:
    y_type, x_type = dense("f32", p.y, channels_last(p.y)), dense("f32", p.x, channels_last(p.x))
    w_type = dense("f32", p.w, filters_last(p.w))
    x, w, y = (
        place(x_type, integers(p.x, seed)),
        place(w_type, integers(p.w, seed + 1)),
        place(y_type, integers(p.y, seed)),
    )
    forward = conv2d(
        y_type, x_type, w_type, **p.steps, epilogue=make_slot("relu(add(acc, $0))", y_type, (y_type,)), target=CPU
    )
    (result,) = execute(forward, [y_type], [x, w], [y])
    assert_exact(result, torch.relu(conv_torch(x.double(), w.double(), *p.numbers) + y))
    back = conv2d_dgrad(
        x_type, y_type, w_type, **p.steps, epilogue=make_slot("mul(acc, $0)", x_type, (x_type,)), target=CPU
    )
    (result,) = execute(back, [x_type], [y, w], [x])
    assert_exact(result, conv_dgrad_torch(y.double(), w.double(), p.x, *p.numbers) * x)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_narrow_types_accumulate_in_f32(dtype: str) -> None:
    if dtype == "bf16" and knobs.runtime.interpret:
        pytest.skip("Triton's interpreter multiplies the bits of bf16 numbers as integers")
    shape, filters = ((1, 20, 3, 4) if knobs.runtime.interpret else (2, 20, 5, 6)), (20, 1, 3, 3)
    numbers: Any = ((1, 1), (1, 1), (1, 1), 20)
    steps = dict(zip(("stride", "padding", "dilation", "groups"), numbers, strict=True))
    x_type, w_type = dense(dtype, shape, channels_last(shape)), dense(dtype, filters, filters_last(filters))
    x, w, dy = place(x_type, floats(shape, 0)), place(w_type, floats(filters, 1)), place(x_type, floats(shape, 2))
    x64, w64, dy64 = x.double(), w.double(), dy.double()
    (y,) = execute(conv2d(x_type, x_type, w_type, **steps, target=CPU), [x_type], [x, w])
    assert_within(y, conv_torch(x64, w64, *numbers), conv_torch(x64.abs(), w64.abs(), *numbers), 9)
    (dx,) = execute(conv2d_dgrad(x_type, x_type, w_type, **steps, target=CPU), [x_type], [dy, w])
    magnitude = conv_dgrad_torch(dy64.abs(), w64.abs(), shape, *numbers)
    assert_within(dx, conv_dgrad_torch(dy64, w64, shape, *numbers), magnitude, 9)
    (dw,) = execute(conv2d_wgrad(w_type, None, x_type, x_type, **steps, target=CPU), [w_type], [x, dy])
    magnitude = conv_wgrad_torch(x64.abs(), dy64.abs(), filters, *numbers)
    assert_within(dw, conv_wgrad_torch(x64, dy64, filters, *numbers), magnitude, shape[0] * shape[2] * shape[3])


def test_the_filter_gradient_adds_parts_in_a_fixed_order() -> None:
    """Enough pixels for a split; its parts depend on sizes only, so that the bits are the same every time."""
    shape, parts = ((1, 5, 40, 31), 2) if knobs.runtime.interpret else ((3, 5, 30, 31), 5)
    filters = (5, 1, 3, 3)
    assert pick_split(shape[0] * shape[2], shape[3]) == parts
    x_type, dw_type, db_type = dense("f32", shape, channels_last(shape)), dense("f32", filters), dense("f32", (5,))
    x, dy = place(x_type, integers(shape, 0)), place(x_type, integers(shape, 1))
    launches = conv2d_wgrad(dw_type, db_type, x_type, x_type, padding=(1, 1), groups=5, target=CPU)
    dw, db = execute(launches, [dw_type, db_type], [x, dy])
    assert_exact(dw, conv_wgrad_torch(x.double(), dy.double(), filters, (1, 1), (1, 1), (1, 1), 5))
    assert_exact(db, dy.double().sum((0, 2, 3)))
    if knobs.runtime.interpret:  # programs one after the other: their order cannot differ
        return
    loose = place(x_type, floats(shape, 0)), place(x_type, floats(shape, 1))
    runs = [execute(launches, [dw_type, db_type], list(loose)) for _ in range(2)]
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run, strict=True))
