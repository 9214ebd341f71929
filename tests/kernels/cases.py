"""What the kernel tests share: how many examples, random layouts and data, and what counts as right."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from triton import knobs

from tests.kernels.run import place, run, surroundings_intact
from tritoncnn.ir import TensorType
from tritoncnn.kernels.launch import Launch

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
NHWC = (0, 2, 3, 1)
RSCK = (2, 3, 1, 0)
RSKC = (2, 3, 0, 1)
UNIT = 2.0**-24  # rounding unit of f32


def examples(count: int) -> settings:
    """``count`` examples, always the same; ten times as many, random ones, in the deep profile; two when interpreted.

    Only the deep profile shrinks a failure: each step compiles kernels.
    """
    count = 2 if knobs.runtime.interpret else count * 10 if DEEP else count
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if DEEP else [])]
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=not DEEP,
        suppress_health_check=quiet,
        database=None,
        phases=phases,
    )


@st.composite
def layouts(draw: Any, shape: Sequence[int], fast: Sequence[int] | None = None, dtype: str = "f32") -> TensorType:
    """A type of this shape: half of the time dense in the ``fast`` order, else in any order, perhaps with gaps."""
    if draw(st.booleans()):
        return TensorType.dense(dtype, shape, fast)
    order = draw(st.permutations(range(len(shape))))
    strides, step = [0] * len(shape), draw(st.sampled_from((1, 1, 2)))
    for d in reversed(order):
        strides[d] = step
        step *= max(shape[d], 1) + draw(st.sampled_from((0, 0, 1)))
    return TensorType(dtype, tuple(shape), tuple(strides))


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


seeds = st.integers(0, 2**31)


def integers(shape: Sequence[int], seed: int) -> torch.Tensor:
    """f64 whole numbers in [-4, 4]: their sums of products are exact in f32."""
    return torch.randint(-4, 5, tuple(shape), generator=torch.Generator().manual_seed(seed)).double()


def floats(shape: Sequence[int], seed: int) -> torch.Tensor:
    """f64 values of a normal distribution, rounded to f32."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed)).double()


def widened(launch: Launch, wide: bool) -> Launch:
    """The launch with int64 offsets, as for tensors of more than 2**31 elements."""
    return replace(launch, constants={**launch.constants, "WIDE": True}) if wide else launch


def execute(
    launch: Launch | tuple[tuple[Launch, ...], TensorType | None],
    results: Sequence[TensorType],
    operands: Sequence[torch.Tensor],
    slot_operands: Sequence[torch.Tensor] = (),
    wide: bool = False,
) -> tuple[torch.Tensor, ...]:
    """Run what a builder returned: one launch, or a few with a workspace. The results start as NaN.

    Fails when something was written beside a result.
    """
    launches, workspace = ((launch,), None) if isinstance(launch, Launch) else launch
    outputs = tuple(place(result) for result in results)
    if workspace is None:
        (one,) = launches
        run(widened(one, wide), *outputs, *operands, *slot_operands)
    else:
        first, second = launches
        parts = place(workspace)
        kept = outputs[1:] if first.results == 2 else ()  # such as the gradient that comes beside partial losses
        run(widened(first, wide), parts, *kept, *operands)
        run(widened(second, wide), *(outputs[:1] if kept else outputs), parts, *slot_operands)
        assert surroundings_intact(parts)
    assert all(surroundings_intact(output) for output in outputs)
    return outputs


def assert_exact(result: torch.Tensor, wanted: torch.Tensor) -> None:
    """Bit for bit (but for the sign of zero)."""
    torch.testing.assert_close(result.double(), wanted, rtol=0.0, atol=0.0, equal_nan=True)


def assert_within(result: torch.Tensor, wanted: torch.Tensor, magnitude: torch.Tensor, length: int) -> None:
    """Two sums of ``length`` products, in any order, differ by at most this (Higham, gamma_n twice); ``magnitude`` is the
    sum of the products' absolute values. Narrower results are rounded once more.
    """
    narrow = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}.get(result.dtype, 0.0)
    bound = 2 * (length + 2) * UNIT * magnitude + narrow * wanted.abs()
    error = (result.double() - wanted).abs()
    assert bool((error <= bound).all()), f"error {float(error.max())}, bound {float(bound.max())}"
