"""The PTX of sm_80, executed on the CPU: a fast part of the cases. The whole: ``tritoncnn gpu-report --execute``."""

from __future__ import annotations

import pytest

from tritoncnn.gpu import Case, cases, execute
from tritoncnn.gpu.cases import sample_cases

FAST = list(cases(fast=True))
HALF = [
    case for case in sample_cases(fast=False) if case.name in ("conv2d 0 bf16", "matmul 0 bf16", "conv2d_wgrad 0 bf16")
]


@pytest.mark.parametrize("case", [*FAST, *HALF], ids=lambda case: case.name)
def test_ptx_matches_the_reference(case: Case) -> None:
    done = execute(case)
    assert done.races == ()
    assert done.error <= done.bound


def test_a_large_grid_is_executed_in_part() -> None:
    case = next(case for case in FAST if case.main)
    assert execute(case).blocks == 2


def test_of_a_split_reduction_in_a_large_grid_each_launch_is_executed_in_part() -> None:
    (case,) = (case for case in cases(fast=False) if case.name == "matmul 64x4096 4096x64 f32")
    done = execute(case)
    assert done.blocks == 4
    assert done.matched


def test_warps_that_write_bytes_side_by_side_do_not_race() -> None:
    (case,) = (
        case for case in sample_cases(fast=False) if case.name == "conv2d 7 bf16"
    )  # taps of a fused pooling, as u8
    assert execute(case).matched
