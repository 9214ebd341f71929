"""Pools and their gradients against torch in f64; NaN, infinities and ties included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from triton import knobs

from tests.kernels.cases import (
    NHWC,
    UNIT,
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
from tests.targets import CPU
from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels import pool
from tritoncnn.kernels.pool_grad import max_pool2d_grad_torch
from tritoncnn.kernels.windows import Tile, pick_tile, pool_size, tap_steps
from tritoncnn.ops.slot import make_slot
from tritoncnn.runtime.cpu_program import compile_launch

dense = TensorType.dense
Steps = dict[str, Any]


@st.composite
def windows(draw: Any, dilated: bool) -> tuple[tuple[int, ...], tuple[int, ...], Steps]:
    """Shape of x, shape of y, attributes. A few windows are so large that their taps run in a loop."""
    window = draw(st.one_of(pairs(1, 3), pairs(1, 3), st.just((2, 2)), st.just((5, 6))))
    stride = draw(st.one_of(st.just(window), pairs(1, 4)))
    padding = tuple(draw(st.integers(0, size // 2)) for size in window)
    dilation = draw(pairs(1, 3)) if dilated else (1, 1)
    ceil_mode = draw(st.booleans())
    sizes = [max(dilation[d] * (window[d] - 1) + 1 - 2 * padding[d], 1) + draw(st.integers(0, 7)) for d in range(2)]
    try:
        outs = [pool_size("pool", sizes[d], window[d], stride[d], padding[d], dilation[d], ceil_mode) for d in range(2)]
    except ShapeError:
        reject()  # a window that misses all pixels
    N, C = draw(st.integers(0, 2)), draw(st.sampled_from((1, 3, 6, 16, 17)))
    steps = {"window": window, "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    return (N, C, *sizes), (N, C, *outs), steps


def max_pool(x: torch.Tensor, steps: Steps) -> torch.Tensor:
    if not len(x):  # torch refuses an empty batch here and there
        return x.new_zeros(0)
    return pool.max_pool2d_torch(x, **steps)


@examples(25)
@given(windows(dilated=True), st.data(), seeds, st.booleans(), st.booleans())
def test_max_pool_agrees_with_torch(
    case: tuple[Any, Any, Steps], data: st.DataObject, seed: int, special: bool, wide: bool
) -> None:
    x_shape, y_shape, steps = case
    x_type, y_type = data.draw(layouts(x_shape, NHWC)), data.draw(layouts(y_shape, NHWC))
    i_type = data.draw(layouts(y_shape, NHWC, "u8"))
    values = integers(x_shape, seed)
    if special:
        values[values == 4] = float("nan")
        values[values == 3] = float("inf")
        values[values <= -2] = float("-inf")
    x = place(x_type, values)
    y, index = execute(pool.max_pool2d(y_type, i_type, x_type, **steps, target=CPU), [y_type, i_type], [x], wide=wide)
    (alone,) = execute(pool.max_pool2d(y_type, None, x_type, **steps, target=CPU), [y_type], [x], wide=wide)
    wanted = max_pool(values, steps).reshape(y_shape)
    assert_exact(y, wanted)
    assert_exact(alone, wanted)
    found = value_at(values, index, steps)
    nowhere = (taps(values, steps, y_shape[2], y_shape[3], fill=77.0) == 77.0).all(
        -1
    )  # all taps in the padding: -inf, tap 0
    assert_exact(found.where(~nowhere, float("-inf")), wanted)
    assert not bool(index[nowhere].any())
    if not special:
        assert torch.equal(index.long(), first_tap(values, wanted, steps))


def taps(x: torch.Tensor, steps: Steps, P: int, Q: int, *, fill: float) -> torch.Tensor:
    """[N,C,P,Q,R*S]: what each tap sees; ``fill`` outside x."""
    (R, S), (U, V), (ph, pw), (dh, dw) = (steps[k] for k in ("window", "stride", "padding", "dilation"))
    padded = torch.nn.functional.pad(x, (pw, S * dw + V, ph, R * dh + U), value=fill)
    return torch.stack(
        [
            padded[:, :, r * dh : r * dh + (P - 1) * U + 1 : U, s * dw : s * dw + (Q - 1) * V + 1 : V]
            for r in range(R)
            for s in range(S)
        ],
        -1,
    )


def value_at(x: torch.Tensor, index: torch.Tensor, steps: Steps) -> torch.Tensor:
    """What the named taps hold; a tap outside x holds 77, which no x does."""
    return taps(x, steps, index.shape[2], index.shape[3], fill=77.0).gather(-1, index.long()[..., None])[..., 0]


def first_tap(x: torch.Tensor, y: torch.Tensor, steps: Steps) -> torch.Tensor:
    return (taps(x, steps, y.shape[2], y.shape[3], fill=77.0) == y[..., None]).to(torch.uint8).argmax(-1)


@examples(20)
@given(windows(dilated=True), st.data(), seeds, st.booleans())
def test_max_pool_gradient_goes_to_the_named_tap(
    case: tuple[Any, Any, Steps], data: st.DataObject, seed: int, wide: bool
) -> None:
    """Any index, also one that names a tap outside x."""
    x_shape, y_shape, steps = case
    steps = {key: value for key, value in steps.items() if key != "ceil_mode"}
    dx_type, dy_type = data.draw(layouts(x_shape, NHWC)), data.draw(layouts(y_shape, NHWC))
    i_type = data.draw(layouts(y_shape, NHWC, "u8"))
    count = steps["window"][0] * steps["window"][1]
    index = torch.randint(0, count, y_shape, generator=torch.Generator().manual_seed(seed))
    dy = place(dy_type, integers(y_shape, seed + 1))
    launch = pool.max_pool2d_grad(dx_type, dy_type, i_type, **steps, target=CPU)
    (dx,) = execute(launch, [dx_type], [dy, place(i_type, index)], wide=wide)
    assert_exact(dx, max_pool2d_grad_torch(dy.double(), index, x_shape, **steps))


@examples(8)
@given(windows(dilated=True), seeds)
def test_max_pool_and_its_gradient_agree_with_autograd(case: tuple[Any, Any, Steps], seed: int) -> None:
    x_shape, y_shape, steps = case
    x_type, y_type = dense("f32", x_shape, NHWC), dense("f32", y_shape, NHWC)
    i_type = y_type.with_dtype("u8")
    values, dy = integers(x_shape, seed).requires_grad_(), integers(y_shape, seed + 1)
    _, index = execute(
        pool.max_pool2d(y_type, i_type, x_type, **steps, target=CPU), [y_type, i_type], [place(x_type, values.detach())]
    )
    attrs = {key: value for key, value in steps.items() if key != "ceil_mode"}
    launch = pool.max_pool2d_grad(x_type, y_type, i_type, **attrs, target=CPU)
    (dx,) = execute(launch, [x_type], [place(y_type, dy), index])
    if len(values):
        wanted = max_pool(values, steps)
        assume(bool((wanted > float("-inf")).all()))  # torch names a pixel at random for a window all in the padding
        wanted.backward(dy)
        assert values.grad is not None
        assert_exact(dx, values.grad)


@examples(20)
@given(windows(dilated=False), st.data(), seeds, st.booleans(), st.booleans())
def test_average_pool_and_its_gradient_agree_with_torch(
    case: tuple[Any, Any, Steps], data: st.DataObject, seed: int, include: bool, wide: bool
) -> None:
    x_shape, y_shape, steps = case
    steps = {key: value for key, value in steps.items() if key != "dilation"} | {"count_include_pad": include}
    x_type, y_type = data.draw(layouts(x_shape, NHWC)), data.draw(layouts(y_shape, NHWC))
    x, dy = place(x_type, floats(x_shape, seed)), place(y_type, floats(y_shape, seed + 1))
    (y,) = execute(pool.avg_pool2d(y_type, x_type, **steps, target=CPU), [y_type], [x], wide=wide)
    (dx,) = execute(pool.avg_pool2d_grad(x_type, y_type, **steps, target=CPU), [x_type], [dy], wide=wide)
    if not len(x):
        return

    def both(values: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        leaf = values.clone().requires_grad_()
        result = pool.avg_pool2d_torch(leaf, **steps)
        result.backward(gradient)
        assert leaf.grad is not None
        return result.detach(), leaf.grad

    length = steps["window"][0] * steps["window"][1]
    exact, bound = both(x.double(), dy.double()), both(x.double().abs(), dy.double().abs())
    assert_within(y, exact[0], bound[0], length)
    assert_within(dx, exact[1], bound[1], length)


def test_pools_have_an_epilogue() -> None:
    x_type, y_type = dense("f32", (2, 3, 6, 6), NHWC), dense("f32", (2, 3, 3, 3), NHWC)
    b_type = dense("f32", (3, 1, 1))
    x, b = place(x_type, integers(x_type.shape, 0)), place(b_type, integers((3, 1, 1), 1))
    slot = make_slot("relu(add(acc, $0))", dense("f32", y_type.shape), (b_type,))
    window: Steps = {"window": (2, 2), "stride": (2, 2)}
    (y,) = execute(pool.max_pool2d(y_type, None, x_type, **window, epilogue=slot, target=CPU), [y_type], [x], [b])
    assert_exact(y, torch.relu(torch.nn.functional.max_pool2d(x.double(), 2) + b))
    (y,) = execute(pool.avg_pool2d(y_type, x_type, **window, epilogue=slot, target=CPU), [y_type], [x], [b])
    assert_exact(y, torch.relu(torch.nn.functional.avg_pool2d(x.double(), 2) + b))
    slot = make_slot("mul(acc, gt($0, 0.0))", dense("f32", x_type.shape), (x_type,))
    dy = place(y_type, integers(y_type.shape, 2))
    (dx,) = execute(pool.avg_pool2d_grad(x_type, y_type, **window, epilogue=slot, target=CPU), [x_type], [dy], [x])
    assert_exact(dx, dy.double().repeat_interleave(2, 2).repeat_interleave(2, 3) / 4 * (x > 0))


@pytest.mark.skipif(knobs.runtime.interpret, reason="it reads the code of the CPU backend")
def test_one_loop_writes_maxima_and_their_places() -> None:
    """On a CPU no block is kept between the taps: at most the one that is written, where y may be x's own memory."""
    x = dense("f32", (1, 64, 9, 9)).with_order(NHWC)
    y, index = dense("f32", (1, 64, 5, 5)).with_order(NHWC), dense("u8", (1, 64, 5, 5)).with_order(NHWC)
    launch = pool.max_pool2d(y, index, x, window=(3, 3), stride=(2, 2), padding=(1, 1), target=CPU)
    tile = pick_tile(25, 64, True, target=CPU)
    kept = f"alloca float, i64 {tile.BLOCK_PIXELS * tile.BLOCK_C},"
    assert compile_launch(launch)[0].llvm_ir().count(kept) <= 1


def test_index_of_a_large_window_is_i32() -> None:
    x_type, y_type = dense("f32", (1, 2, 18, 17)), dense("f32", (1, 2, 2, 2))
    window: Steps = {"window": (16, 16), "stride": (2, 1)}
    x = place(x_type, floats(x_type.shape, 0))
    types = [y_type, y_type.with_dtype("i32")]
    y, index = execute(pool.max_pool2d(types[0], types[1], x_type, **window, target=CPU), types, [x])
    steps = {**window, "padding": (0, 0), "dilation": (1, 1)}
    assert_exact(y, max_pool(x.double(), steps))
    assert torch.equal(index.long(), first_tap(x.double(), y.double(), steps))
    with pytest.raises(DTypeError, match=r"^max_pool2d: index must be i32 for a window of 16 x 16; got u8$"):
        pool.max_pool2d(y_type, y_type.with_dtype("u8"), x_type, **window, target=CPU)


def test_narrow_types_are_widened() -> None:
    x_type, y_type = dense("f16", (2, 3, 6, 6), NHWC), dense("f16", (2, 3, 3, 3), NHWC)
    x = place(x_type, floats(x_type.shape, 0))
    (y,) = execute(pool.avg_pool2d(y_type, x_type, window=(2, 2), stride=(2, 2), target=CPU), [y_type], [x])
    wanted = torch.nn.functional.avg_pool2d(x.double(), 2)
    assert bool(((y.double() - wanted).abs() <= 2.0**-11 * wanted.abs() + 8 * UNIT).all())


@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 6), st.integers(0, 40))
@examples(200)
def test_tap_steps_names_exactly_the_taps_that_reach_a_row(R: int, U: int, DIL: int, row: int) -> None:
    step, inverse, most = tap_steps(R, U, DIL)
    g = U // step
    found = [] if row % g else list(range(row // g * inverse % step, R, step))
    assert found == [r for r in range(R) if (row - r * DIL) % U == 0]
    assert len(found) <= most


def test_lanes_run_over_what_is_contiguous() -> None:
    assert pick_tile(9216, 6, channels_last=True, target=CPU) == Tile(512, 8)
    assert pick_tile(9216, 6, channels_last=False, target=CPU).BLOCK_C == 1


X, Y = dense("f32", (2, 3, 6, 6)), dense("f32", (2, 3, 3, 3))
REFUSED = [
    ({"window": (2, 2), "stride": (1, 1)},
     "max_pool2d: the pooled tensor must be [2, 3, 5, 5], from [2, 3, 6, 6]; got [2, 3, 3, 3]"),
    ({"window": (2, 2), "stride": (2, 2), "padding": (2, 0)},
     "max_pool2d: padding must be at most half of kernel_size 2; got 2"),
    ({"window": (7, 2), "stride": (2, 2)},
     "max_pool2d: kernel_size 7 with dilation 1 must fit into the padded input; got 6 pixels"),
    ({"window": (2, 0), "stride": (2, 2)}, "max_pool2d: S must be at least 1; got 0"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "sentence"), REFUSED)
def test_a_refusal_is_one_sentence(steps: Steps, sentence: str) -> None:
    with pytest.raises(ShapeError) as caught:
        pool.max_pool2d(Y, None, X, **steps, target=CPU)
    assert str(caught.value) == sentence
