"""Targets: what there is, and what depends on them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from tests.targets import CPU, CUDA
from tritoncnn.errors import UnsupportedError
from tritoncnn.gpu import TARGETS
from tritoncnn.ir import TensorType
from tritoncnn.kernels import conv2d, conv2d_dgrad, conv2d_wgrad, matmul, pad, pointwise, reduce, row_norm, windows
from tritoncnn.kernels.building import power_of_2
from tritoncnn.kernels.target import Target
from tritoncnn.runtime import target_of


def test_the_target_of_this_machine_is_the_same_each_time() -> None:
    target = target_of(torch.device("cpu"))
    assert (target.kind, target) == ("cpu", target_of(torch.empty(1).device))
    assert target.width in (4, 8, 16)
    assert target.memory > 2**28


@pytest.mark.parametrize(("hip", "arch", "wanted"), [(None, "", "sm_90"), ("6.2", "gfx942:sramecc+:xnack-", "gfx942")])
def test_the_target_of_a_gpu_is_what_torch_says_of_it(
    hip: str | None, arch: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Properties:
        major, minor, multi_processor_count, total_memory, gcnArchName = 9, 0, 132, 80 << 30, arch

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    monkeypatch.setattr(torch.version, "hip", hip)
    assert target_of(torch.device("cuda", 0)) == Target("hip" if hip else "cuda", wanted, 132, 80 << 30)


def test_other_devices_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"^tensors must be on a cpu or on a GPU of type cuda; got meta$"):
        target_of(torch.device("meta"))


def test_every_gpu_that_is_compiled_for_is_a_target() -> None:
    assert [(gpu.target.architecture, gpu.target.kind) for gpu in TARGETS.values()] == [
        (name, "hip" if name.startswith("gfx") else "cuda") for name in TARGETS
    ]


def test_each_choice_of_a_builder_is_made_for_the_target_that_it_is_given() -> None:
    assert conv2d.pick_tile(16384, 128, 64, 576, False, 1, CUDA) != conv2d.pick_tile(16384, 128, 64, 576, False, 1, CPU)
    x, dw = TensorType.dense("f32", (2, 20, 9, 9), (0, 2, 3, 1)), TensorType.dense("f32", (20, 1, 3, 3), (2, 3, 1, 0))
    steps = {"padding": (1, 1), "groups": 20}
    sums = [
        conv2d_wgrad.conv2d_wgrad(dw, None, x, x, **steps, target=t)[0][0].constants["LINE_SUMS"] for t in (CPU, CUDA)
    ]
    assert sums == [True, False], "sums of a line in registers pay on a CPU"
    y, across = TensorType.dense("f32", (640, 512)), TensorType.dense("f32", (640, 512), (1, 0))
    cpu, gpu = (pointwise.copy(y, across, target=t) for t in (CPU, CUDA))
    assert cpu.constants["BLOCK_LANES"] != gpu.constants["BLOCK_LANES"]


@pytest.mark.parametrize("rows", [0, 1, 3, 49, 196, 3136])
@pytest.mark.parametrize("channels", [1, 16, 96, 832])
def test_no_tile_has_more_rows_than_the_tensor(rows: int, channels: int) -> None:
    picked = {
        "conv2d": conv2d.pick_tile(rows, channels, channels, channels, True, 1, CPU).BLOCK_NPQ,
        "conv2d of taps": conv2d.pick_tile(rows, channels, channels, 9 * channels, False, 1, CPU).BLOCK_NPQ,
        "conv2d_dgrad": conv2d_dgrad.pick_tile(rows, channels, channels, 1, CPU).BLOCK_NHW,
        "matmul": matmul.pick_tile(rows, channels, channels, CPU).BLOCK_M,
        "pools, channels last": windows.pick_tile(rows, channels, True, CPU).BLOCK_PIXELS,
        "pools, planes": windows.pick_tile(rows, channels, False, CPU).BLOCK_PIXELS,
        "pointwise": pointwise.pick_tile(rows, channels, CPU).BLOCK_ROWS,
        "reduce": reduce.pick_tile(rows, channels, True, CPU).BLOCK_KEEP,
        "row_norm": row_norm.pick_tile(rows, channels, CPU).BLOCK_N,
        "pad2d": pad.pick_tile(rows, channels, CPU).BLOCK_ROWS,
    }
    assert {name: block for name, block in picked.items() if block > power_of_2(rows)} == {}
    assert all(block >= 1 for block in picked.values())


def test_rows_that_are_pooled_into_one_stay_in_one_tile() -> None:
    assert conv2d.pick_tile(4, 6, 1, 25, flat=True, window=4, target=CPU).BLOCK_NPQ == 4
    assert conv2d.pick_tile(2, 6, 1, 25, flat=True, window=4, target=CPU).BLOCK_NPQ == 4


def test_no_default_target_is_left() -> None:
    root = Path(__file__).parents[2]
    found = subprocess.run(
        ["grep", "-rnE", r"target: (Target|str)( \| None)? = ", "kernels", "tritoncnn", "--include=*.py"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout == ""
