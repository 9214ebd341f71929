"""conv2d and its gradients against torch in f64, over random shapes, strides, paddings, dilations and layouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from triton import knobs

from tests.kernels.cases import (
    NHWC,
    RSCK,
    RSKC,
    assert_exact,
    assert_within,
    examples,
    execute,
    floats,
    integers,
    layouts,
    pairs,
    seeds,
)
from tests.kernels.run import place
from tests.targets import CPU, CUDA
from tritoncnn.errors import DTypeError, ShapeError, UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.kernels import conv2d as forward
from tritoncnn.kernels import conv2d_dgrad as dgrad
from tritoncnn.kernels import conv2d_wgrad as wgrad
from tritoncnn.kernels.target import Target
from tritoncnn.ops.slot import make_slot

dense = TensorType.dense


@dataclass(frozen=True)
class Problem:
    x: tuple[int, ...]
    w: tuple[int, ...]
    y: tuple[int, ...]
    steps: dict[str, Any]

    @property
    def length(self) -> int:
        return self.w[1] * self.w[2] * self.w[3]


@st.composite
def problems(draw: Any, empty: bool = True) -> Problem:
    N, C, K = (
        draw(st.integers(0 if empty else 1, 3)),
        draw(st.sampled_from((1, 2, 3, 6, 17))),
        draw(st.sampled_from((1, 3, 6, 16, 33))),
    )
    (R, S), stride = draw(pairs(1, 4)), draw(pairs(1, 3))
    padding = draw(st.one_of(st.just((0, 0)), pairs(0, 2)))
    dilation = draw(pairs(1, 3))
    sizes = []
    for axis, taps in enumerate((R, S)):
        least = dilation[axis] * (taps - 1) + 1 - 2 * padding[axis]
        sizes.append(max(least, 1) + draw(st.integers(0, 8)))
    H, W = sizes
    P, Q = (
        (size + 2 * padding[axis] - dilation[axis] * (taps - 1) - 1) // stride[axis] + 1
        for axis, (size, taps) in enumerate(zip((H, W), (R, S), strict=True))
    )
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    return Problem((N, C, H, W), (K, C, R, S), (N, K, P, Q), steps)


def convolve(problem: Problem, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.conv2d(x, w, None, **problem.steps)


@examples(20)
@given(problems(), st.data(), seeds, st.booleans())
def test_conv2d_agrees_with_torch(problem: Problem, data: st.DataObject, seed: int, wide: bool) -> None:
    y_type, x_type = data.draw(layouts(problem.y, NHWC)), data.draw(layouts(problem.x, NHWC))
    w_type = data.draw(layouts(problem.w, RSCK))
    launch = forward.conv2d(y_type, x_type, w_type, **problem.steps, target=CPU)
    for kind in (integers, floats):
        x, w = place(x_type, kind(problem.x, seed)), place(w_type, kind(problem.w, seed + 1))
        (y,) = execute(launch, [y_type], [x, w], wide=wide)
        wanted = convolve(problem, x.double(), w.double())
        if kind is integers:
            assert_exact(y, wanted)
        else:
            assert_within(y, wanted, convolve(problem, x.double().abs(), w.double().abs()), problem.length)


@examples(15)
@given(problems(), st.data(), seeds, st.booleans(), st.booleans())
def test_epilogue_comes_after_the_sum_and_before_pooling(
    problem: Problem, data: st.DataObject, seed: int, indexed: bool, residual: bool
) -> None:
    window = data.draw(st.sampled_from(((1, 1), (2, 2), (1, 2), (2, 1), (3, 2), (3, 3))))
    N, K, P, Q = problem.y
    window = (min(window[0], P), min(window[1], Q))
    pool = window if window != (1, 1) else None
    shape = (N, K, P // window[0], Q // window[1])
    y_type, x_type = data.draw(layouts(shape, NHWC)), data.draw(layouts(problem.x, NHWC))
    w_type, b_type, r_type = dense("f32", problem.w, RSCK), dense("f32", (K, 1, 1)), data.draw(layouts(problem.y, NHWC))
    i_type = data.draw(layouts(shape, NHWC, "u8")) if pool and indexed else None
    text, extra = ("relu(add(add(acc, $0), $1))", (b_type, r_type)) if residual else ("relu(add(acc, $0))", (b_type,))
    slot = make_slot(text, dense("f32", problem.y), extra)
    launch = forward.conv2d(
        y_type, x_type, w_type, **problem.steps, epilogue=slot, pool=pool, indices=i_type, target=CPU
    )
    assert launch.operands[-len(extra) :] == extra

    x, w = place(x_type, integers(problem.x, seed)), place(w_type, integers(problem.w, seed + 1))
    b, r = place(b_type, integers((K, 1, 1), seed + 2)), place(r_type, integers(problem.y, seed + 3))
    results = [y_type, i_type] if i_type else [y_type]
    y, *index = execute(launch, results, [x, w], [b, r][: len(extra)])
    wanted = torch.relu(convolve(problem, x.double(), w.double()) + b + (r if residual else 0))
    if pool and N:
        wanted, place_of = torch.nn.functional.max_pool2d(wanted, pool, return_indices=True)
        if index:
            h, w_ = place_of // Q, place_of % Q
            taps = (
                (h - torch.arange(shape[2])[:, None] * window[0]) * window[1] + w_ - torch.arange(shape[3]) * window[1]
            )
            assert torch.equal(index[0].long(), taps)
    assert_exact(y, wanted if N else torch.zeros(shape).double())


def test_of_pooled_values_the_last_nan_wins_as_in_torch_and_the_first_of_equals_is_named() -> None:
    x = torch.zeros(1, 1, 4, 6)
    x[0, 0, 1, 1], x[0, 0, 0, 4], x[0, 0, 1, 5] = float("nan"), float("nan"), float("nan")
    x[0, 0, 2, 2:4] = float("-inf")
    x[0, 0, 3, 2:4] = float("-inf")
    types = [dense("f32", (1, 1, 2, 3)), dense("u8", (1, 1, 2, 3))]
    launch = forward.conv2d(
        types[0], dense("f32", x.shape), dense("f32", (1, 1, 1, 1)), pool=(2, 2), indices=types[1], target=CPU
    )
    y, index = execute(
        launch, types, [place(dense("f32", x.shape), x), place(dense("f32", (1, 1, 1, 1)), torch.ones(1, 1, 1, 1))]
    )
    nan, inf = float("nan"), float("inf")
    assert_exact(y, torch.tensor([[[[nan, 0.0, nan], [0.0, -inf, 0.0]]]]).double())
    assert index.flatten().tolist() == [3, 0, 3, 0, 0, 0]


@examples(20)
@given(problems(), st.data(), seeds, st.booleans())
def test_input_gradient_agrees_with_torch(problem: Problem, data: st.DataObject, seed: int, wide: bool) -> None:
    dx_type, dy_type = data.draw(layouts(problem.x, NHWC)), data.draw(layouts(problem.y, NHWC))
    w_type = data.draw(layouts(problem.w, RSKC))
    launch = dgrad.conv2d_dgrad(dx_type, dy_type, w_type, **problem.steps, target=CPU)

    def gradient(dy: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        x = torch.zeros(problem.x, dtype=torch.float64, requires_grad=True)
        convolve(problem, x, w).backward(dy)
        assert x.grad is not None
        return x.grad

    for kind in (integers, floats):
        dy, w = place(dy_type, kind(problem.y, seed)), place(w_type, kind(problem.w, seed + 1))
        (dx,) = execute(launch, [dx_type], [dy, w], wide=wide)
        wanted = gradient(dy.double(), w.double())
        if kind is integers:
            assert_exact(dx, wanted)
        else:
            length = problem.w[0] * problem.w[2] * problem.w[3]
            assert_within(dx, wanted, gradient(dy.double().abs(), w.double().abs()), length)


@examples(6)
@given(problems(empty=False), seeds)
def test_input_gradient_has_an_epilogue(problem: Problem, seed: int) -> None:
    x_type, dy_type, w_type = (
        dense("f32", problem.x, NHWC),
        dense("f32", problem.y, NHWC),
        dense("f32", problem.w, RSKC),
    )
    slot = make_slot("mul(acc, $0)", dense("f32", problem.x), (x_type,))
    dy, w = place(dy_type, integers(problem.y, seed)), place(w_type, integers(problem.w, seed + 1))
    x = place(x_type, integers(problem.x, seed + 2))
    (plain,) = execute(dgrad.conv2d_dgrad(x_type, dy_type, w_type, **problem.steps, target=CPU), [x_type], [dy, w])
    launch = dgrad.conv2d_dgrad(x_type, dy_type, w_type, **problem.steps, epilogue=slot, target=CPU)
    (masked,) = execute(launch, [x_type], [dy, w], [x])
    assert_exact(masked, (plain * x).double())


@examples(20)
@given(problems(), st.data(), seeds, st.booleans(), st.sampled_from((1, 1, 2, 3)), st.booleans())
def test_filter_gradient_agrees_with_torch(
    problem: Problem, data: st.DataObject, seed: int, bias: bool, split: int, wide: bool
) -> None:
    x_type, dy_type = data.draw(layouts(problem.x, NHWC)), data.draw(layouts(problem.y, NHWC))
    dw_type, db_type = data.draw(layouts(problem.w, RSCK)), data.draw(layouts(problem.w[:1]))
    block = data.draw(st.sampled_from((4, 16)))
    tile = data.draw(st.sampled_from((None, wgrad.Tile(block, 4, block, split))))
    launches = wgrad.conv2d_wgrad(
        dw_type, db_type if bias else None, x_type, dy_type, **problem.steps, tile=tile, target=CPU
    )

    def gradient(x: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
        w = torch.zeros(problem.w, dtype=torch.float64, requires_grad=True)
        convolve(problem, x, w).backward(dy)
        assert w.grad is not None
        return w.grad

    for kind in (integers, floats):
        x, dy = place(x_type, kind(problem.x, seed)), place(dy_type, kind(problem.y, seed + 1))
        dw, *db = execute(launches, [dw_type, db_type] if bias else [dw_type], [x, dy], wide=wide)
        length = problem.y[0] * problem.y[2] * problem.y[3]
        if kind is integers:
            assert_exact(dw, gradient(x.double(), dy.double()))
            assert not bias or torch.equal(db[0].double(), dy.double().sum((0, 2, 3)))
        else:
            assert_within(dw, gradient(x.double(), dy.double()), gradient(x.double().abs(), dy.double().abs()), length)
            for sums in db:
                assert_within(sums, dy.double().sum((0, 2, 3)), dy.double().abs().sum((0, 2, 3)), length)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_narrow_types_accumulate_in_f32(dtype: str) -> None:
    if dtype == "bf16" and knobs.runtime.interpret:
        pytest.skip("Triton's interpreter multiplies the bits of bf16 numbers as integers")
    types = dense(dtype, (2, 5, 5, 6), NHWC), dense(dtype, (2, 3, 7, 8), NHWC), dense(dtype, (5, 3, 3, 3), RSCK)
    x, w = place(types[1], floats(types[1].shape, 0)), place(types[2], floats(types[2].shape, 1))
    (y,) = execute(forward.conv2d(*types, target=CPU), types[:1], [x, w])
    wanted = torch.nn.functional.conv2d(x.double(), w.double())
    assert_within(y, wanted, torch.nn.functional.conv2d(x.double().abs(), w.double().abs()), 27)


def test_tiles_of_lenet() -> None:
    """First layer, one picture: some programs to share, filters in 8 lanes, the whole filter in one step."""
    assert forward.pick_tile(784, 6, 1, 25, flat=True, window=4, target=CPU) == forward.Tile(256, 8, 32)
    assert forward.pick_tile(64 * 784, 6, 1, 25, flat=True, window=4, target=CPU) == forward.Tile(512, 8, 32)
    assert (
        forward.pick_tile(128 * 56 * 56, 256, 64, 576, flat=False, window=1, target=CUDA, dtype="bf16").BLOCK_K == 128
    )
    assert wgrad.pick_tile(25, 25, 6, 64 * 784, 1, CPU).SPLIT == 8
    assert wgrad.pick_tile(25, 25, 6, 100, 1, CPU).SPLIT == 1
    with pytest.raises(UnsupportedError, match=r"^a target must be one of cpu, cuda, hip; got tpu$"):
        Target("tpu", "v5", 128, 16 << 30)


def test_offsets_are_64_bits_wide_only_for_large_tensors() -> None:
    w = dense("f32", (4, 4, 1, 1), RSCK)
    small, large = (dense("f32", (n, 4, 1024, 1024), NHWC) for n in (2, 600))
    assert forward.conv2d(small, small, w, target=CPU).constants["WIDE"] is False
    assert forward.conv2d(large, large, w, target=CPU).constants["WIDE"] is True


def test_launch_counts_its_work() -> None:
    y, x, w = dense("f32", (2, 5, 5, 6), NHWC), dense("f32", (2, 3, 7, 8), NHWC), dense("f32", (5, 3, 3, 3), RSCK)
    launch = forward.conv2d(y, x, w, target=CPU)
    assert launch.flops == 2 * (2 * 5 * 6) * 5 * 27
    assert launch.nbytes == 4 * (y.numel + x.numel + w.numel)
    assert (launch.pointers, launch.operands, launch.results) == (("y_ptr", "x_ptr", "w_ptr"), (y, x, w), 1)


Y, X, W = dense("f32", (2, 5, 5, 6)), dense("f32", (2, 3, 7, 8)), dense("f32", (5, 3, 3, 3))
REFUSED = [
    (lambda: forward.conv2d(Y, X, dense("f32", (5, 4, 3, 3)), target=CPU), ShapeError,
     "conv2d: w must be [K, 3 / 1 groups, ...] with K a multiple of 1, as x [2, 3, 7, 8] has 3 channels; got [5, 4, 3, 3]"),
    (lambda: forward.conv2d(X, X, W, target=CPU), ShapeError,
     "conv2d: y must be [2, 5, 5, 6], from x [2, 3, 7, 8] and w [5, 3, 3, 3]; got [2, 3, 7, 8]"),
    (lambda: forward.conv2d(Y, X, W.with_dtype("f16"), target=CPU), DTypeError, "conv2d: w must be f32, as x is; got f16"),
    (lambda: forward.conv2d(Y, X.with_dtype("i32"), W, target=CPU), DTypeError,
     "conv2d: x must be one of f32, f16, bf16; got i32"),
    (lambda: forward.conv2d(Y, X, W, groups=3, target=CPU), ShapeError,
     "conv2d: w must be [K, 3 / 3 groups, ...] with K a multiple of 3, as x [2, 3, 7, 8] has 3 channels; got [5, 3, 3, 3]"),
    (lambda: forward.conv2d(Y, X, W, stride=(0, 1), target=CPU), ShapeError, "conv2d: stride[0] must be at least 1; got 0"),
    (lambda: forward.conv2d(Y, X, W, dilation=(4, 1), target=CPU), ShapeError,
     "conv2d: weight of 3 taps with dilation 4 must fit into the padded input; got 7 pixels"),
    (lambda: forward.conv2d(dense("f32", (2, 5)), X, W, target=CPU), ShapeError,
     "conv2d: y must be [2, 5, 5, 6], from x [2, 3, 7, 8] and w [5, 3, 3, 3]; got [2, 5]"),
    (lambda: forward.conv2d(Y, X, W, pool=(9, 9), target=CPU), UnsupportedError,
     "conv2d: a fused pooling window must have at most 64 pixels of a picture; got 9 x 9"),
    (lambda: dgrad.conv2d_dgrad(X, X, W, target=CPU), ShapeError,
     "conv2d_dgrad: dy must be [2, 5, 5, 6], from dx [2, 3, 7, 8] and w [5, 3, 3, 3]; got [2, 3, 7, 8]"),
    (lambda: wgrad.conv2d_wgrad(W, dense("f32", (4,)), X, Y, target=CPU), ShapeError,
     "conv2d_wgrad: db must be [5], one per filter; got [4]"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "sentence"), REFUSED)
def test_a_refusal_is_one_sentence(call: Any, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == sentence
