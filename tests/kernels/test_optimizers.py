"""Optimizer steps against torch.optim in f64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.cases import UNIT, examples, floats, seeds, widened
from tests.kernels.run import place, run, surroundings_intact
from tests.targets import CPU
from tritoncnn.errors import DTypeError, LayoutError, ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.optimizers import adamw, adamw_torch, ema, increment, sgd, sgd_torch
from tritoncnn.kernels.update import update
from tritoncnn.ops.slot import make_slot

dense = TensorType.dense
sizes = st.sampled_from((0, 1, 37, 300, 1025))
NUMBER, COUNT = dense("f32", ()), dense("i64", ())
STEPS = 3


@examples(10)
@given(sizes, st.sampled_from((0.0, 0.9)), st.sampled_from((0.0, 0.1)), st.booleans(), seeds, st.booleans())
def test_sgd_follows_torch(size: int, momentum: float, decay: float, nesterov: bool, seed: int, wide: bool) -> None:
    arena = dense("f32", (size,))
    nesterov = nesterov and momentum > 0
    p, m, lr = place(arena, floats((size,), seed)), place(arena, torch.zeros(size)), place(NUMBER, torch.tensor(0.1))
    reference = torch.nn.Parameter(p.double())
    optimizer = torch.optim.SGD([reference], lr=float(lr), momentum=momentum, weight_decay=decay, nesterov=nesterov)
    words: dict[str, Any] = {"momentum": momentum, "weight_decay": decay, "nesterov": nesterov}
    launch = widened(sgd(arena, arena if momentum else None, arena, NUMBER, **words, target=CPU), wide)
    for step in range(STEPS):
        g = place(arena, floats((size,), seed + step + 1))
        run(launch, *([p, m, g, lr] if momentum else [p, g, lr]))
        reference.grad = g.double()
        optimizer.step()
    assert surroundings_intact(p)
    assert surroundings_intact(m)
    # A step rounds p, m and the gradient some 6 times; values stay under 8.
    torch.testing.assert_close(p.double(), reference.detach(), rtol=0.0, atol=STEPS * 8 * 8 * UNIT)


@examples(8)
@given(sizes, st.sampled_from((0.0, 0.1)), st.sampled_from((1, 2, 1000)), seeds, st.booleans())
def test_adamw_follows_torch(size: int, decay: float, first: int, seed: int, wide: bool) -> None:
    """From any step on, 1 too, where 1 - beta2**step is small."""
    arena = dense("f32", (size,))
    p, m = place(arena, floats((size,), seed)), place(arena, 0.1 * floats((size,), seed + 1) * (first > 1))
    v = place(arena, floats((size,), seed + 2) ** 2 * (first > 1))
    lr, count = place(NUMBER, torch.tensor(0.01)), place(COUNT, torch.tensor(first - 1))
    reference = torch.nn.Parameter(p.double())
    optimizer = torch.optim.AdamW([reference], lr=float(lr), weight_decay=decay)
    optimizer.state[reference] = {
        "step": torch.tensor(float(first - 1)), "exp_avg": m.double(), "exp_avg_sq": v.double(),
    }  # fmt: skip
    launch = widened(adamw(arena, arena, arena, arena, NUMBER, COUNT, weight_decay=decay, target=CPU), wide)
    for step in range(STEPS):
        g = place(arena, floats((size,), seed + step + 3))
        run(increment(COUNT), count)
        run(launch, p, m, v, g, lr, count)
        reference.grad = g.double()
        optimizer.step()
    assert int(count) == first - 1 + STEPS
    assert all(map(surroundings_intact, (p, m, v, count)))
    # A step moves p by lr times a number of some units; p is rounded in each step, as are m and v (relatively).
    torch.testing.assert_close(p.double(), reference.detach(), rtol=STEPS * 4 * UNIT, atol=STEPS * 64 * UNIT * 0.1)


def test_one_step_agrees_with_the_twin() -> None:
    arena = dense("f32", (50,))
    p, m, v, g = (place(arena, floats((50,), i).abs()) for i in range(4))
    lr, count = place(NUMBER, torch.tensor(0.1)), place(COUNT, torch.tensor(7))
    new = adamw_torch(p.double(), m.double(), v.double(), g.double(), 0.1, 7)
    run(adamw(arena, arena, arena, arena, NUMBER, COUNT, target=CPU), p, m, v, g, lr, count)
    for found, wanted in zip((p, m, v), new, strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=16 * UNIT, atol=16 * UNIT)
    wanted_p, wanted_m = sgd_torch(
        p.double(), m.double(), g.double(), 0.1, momentum=0.5, weight_decay=0.25, nesterov=True
    )
    run(sgd(arena, arena, arena, NUMBER, momentum=0.5, weight_decay=0.25, nesterov=True, target=CPU), p, m, g, lr)
    assert wanted_m is not None
    torch.testing.assert_close(p.double(), wanted_p, rtol=16 * UNIT, atol=16 * UNIT)
    torch.testing.assert_close(m.double(), wanted_m, rtol=16 * UNIT, atol=16 * UNIT)


A = dense("f32", (8,))
REFUSED: list[Any] = [
    (lambda: sgd(A, None, A, NUMBER, momentum=0.9, target=CPU), ShapeError,
     "sgd: the buffer m comes with a momentum other than 0; got None and 0.9"),
    (lambda: sgd(A, None, dense("f32", (9,)), NUMBER, target=CPU), ShapeError, "sgd: g must be f32[8], as p is; got f32[9]"),
    (lambda: sgd(dense("f32", (2, 4)), None, A, NUMBER, target=CPU), LayoutError, "sgd: p must be flat and dense; got f32[2,4]"),
    (lambda: adamw(A, A, A, A, A, COUNT, target=CPU), ShapeError, "adamw: lr must be one number; got [8]"),
    (lambda: increment(NUMBER), DTypeError, "increment: step must be i64; got f32"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "sentence"), REFUSED)
def test_a_refusal_is_one_sentence(call: Any, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == sentence


@examples(8)
@given(sizes, st.sampled_from((0.0, 0.75, 0.999)), seeds, st.booleans())
def test_moving_averages_follow_torch(size: int, decay: float, seed: int, wide: bool) -> None:
    arena = dense("f32", (size,))
    e, count = place(arena, torch.full((size,), torch.nan)), place(COUNT, torch.tensor(0))
    launch, mean = (
        widened(ema(arena, arena, COUNT, decay=decay, target=CPU), wide),
        torch.zeros(size, dtype=torch.float64),
    )
    for step in range(STEPS):
        p = place(arena, floats((size,), seed + step))
        run(increment(COUNT), count)
        run(launch, e, p, count)
        mean = p.double() if step == 0 else mean + (p.double() - mean) * (1 - decay)
    assert surroundings_intact(e)
    # A step rounds 3 times, and 1 - decay once; values stay under 8.
    torch.testing.assert_close(e.double(), mean, rtol=0.0, atol=STEPS * 4 * 8 * UNIT)


def test_moving_averages_of_other_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"ema: e must be"):
        ema(dense("f32", (3,)), dense("f32", (4,)), COUNT, decay=0.5, target=CPU)
    with pytest.raises(DTypeError, match=r"ema: step must be i64; got f32"):
        ema(dense("f32", (4,)), dense("f32", (4,)), NUMBER, decay=0.5, target=CPU)


def test_wrong_updates_are_refused() -> None:
    y, sizes = TensorType.dense("f32", (3,)), TensorType.dense("i32", (4,))
    slot = make_slot("add($0, $1)", y, (y, y))
    with pytest.raises(
        ShapeError, match=r"update: items must be one of \(4, 16\); got 3 results and 3 rows of operands"
    ):
        update([y] * 3, [[y]] * 3, None, sizes, slot)
    with pytest.raises(ShapeError, match=r"update: each operand must have 3 elements, or 1; got \[2\]"):
        update([y] * 4, [[TensorType.dense("f32", (2,))]] * 4, None, sizes, slot)
    with pytest.raises(LayoutError, match=r"update: each operand must be flat and dense; got f32\[3\]"):
        update([y] * 4, [[TensorType("f32", (3,), (2,))]] * 4, None, sizes, slot)
    with pytest.raises(ShapeError, match=r"update: numbers must be f32\[4,n\] and sizes i32\[4\]; got None, i32\[3\]"):
        update([y] * 4, [[y]] * 4, None, TensorType.dense("i32", (3,)), slot)
