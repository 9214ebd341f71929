"""What the kernel tests share: how many examples, random layouts and data, and what counts as right."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from triton import knobs

from tests.kernels.run import place, run, surroundings_intact
from tritoncnn.ir import TensorType
from tritoncnn.kernels.launch import Launch
from tritoncnn.testing import UNIT, assert_exact, assert_within, floats, integers, layouts, seeds

__all__ = [
    "DEEP", "NHWC", "RSCK", "RSKC", "UNIT", "assert_exact", "assert_within", "examples", "execute", "floats", "integers",
    "layouts", "pairs", "seeds", "widened",
]  # fmt: skip

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
NHWC = (0, 2, 3, 1)
RSCK = (2, 3, 1, 0)
RSKC = (2, 3, 0, 1)


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


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


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
