"""The gate of the GPU report: real layers pass it, planted faults do not."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection
from dataclasses import replace

import pytest
import triton

from tests.targets import CUDA
from tritoncnn import kernels
from tritoncnn.gpu import TARGETS, Facts, cases, compile_for, facts_of, faults
from tritoncnn.gpu.gate import faults as gate
from tritoncnn.gpu.gate import matrix_flops
from tritoncnn.gpu.wgmma import serialised
from tritoncnn.ir import TensorType
from tritoncnn.kernels import conv2d, conv2d_dgrad, matmul
from tritoncnn.kernels.conv2d import Tile
from tritoncnn.kernels.launch import Launch

NHWC, RSCK = (0, 2, 3, 1), (2, 3, 1, 0)
GOOD = Tile(64, 64, 32, 4, 3)


def conv(dtype: str = "bf16", C: int = 64, K: int = 64, tile: Tile = GOOD) -> Launch:
    x, w = TensorType.dense(dtype, (8, C, 32, 32), NHWC), TensorType.dense(dtype, (K, C, 3, 3), RSCK)
    return conv2d.conv2d(TensorType.dense(dtype, (8, K, 32, 32), NHWC), x, w, padding=(1, 1), tile=tile, target=CUDA)


def found(launch: Launch, name: str = "sm_80", unaligned: Collection[str] = ()) -> str:
    target = TARGETS[name]
    return "; ".join(faults(facts_of(compile_for(launch, target, unaligned)), target, matrix=True, wide=True))


@pytest.mark.xfail(triton.__version__ >= "3.9", reason="Triton 3.9 loads the picture 16 bits at a time", strict=True)
@pytest.mark.parametrize("target", TARGETS)
def test_a_convolution_in_bf16_passes_on_every_target(target: str) -> None:
    assert found(conv(), target) == ""


@pytest.mark.parametrize(
    ("launch", "fault"),
    [
        (conv("f32"), "no matrix instruction in the main loop"),
        (conv(C=63), "narrow loads in the main loop"),
        (conv(tile=GOOD._replace(num_stages=1)), "the main loop is not pipelined"),
        (conv(K=128, tile=Tile(128, 128, 64, 4, 8)), "is over the limit 166912"),
        (conv(K=256, tile=Tile(256, 256, 32, 4, 3)), "accesses to spilled registers in the main loop"),
    ],
    ids=["IEEE f32", "odd channels", "one stage", "eight stages", "huge tile"],
)
def test_a_planted_fault_is_found(launch: Launch, fault: str) -> None:
    assert fault in found(launch)


def test_pointers_that_are_not_aligned_are_found() -> None:
    assert "narrow loads in the main loop" in found(conv(), unaligned=("x_ptr", "w_ptr"))


@pytest.mark.parametrize("name", ["sm_80", "sm_90", "gfx90a", "gfx942"])
def test_matrix_instructions_that_do_not_do_the_tiles_work_are_found(name: str) -> None:
    launch, target = conv(), TARGETS[name]
    facts, tile = facts_of(compile_for(launch, target)), 2 * 64 * 64 * 32
    assert matrix_flops(facts.matrix, launch.num_warps) % tile == 0 < matrix_flops(facts.matrix, launch.num_warps)
    assert not any("no multiple" in fault for fault in gate(facts, target, tile=tile))
    (instruction,) = facts.matrix
    lost = replace(facts, matrix={instruction: facts.matrix[instruction] - 1})
    assert any("no multiple of the tile's 262144" in fault for fault in gate(lost, target, tile=tile))


def test_products_that_are_made_to_wait_for_each_other_are_found() -> None:
    """An accumulator is read before the products that write it are waited for."""
    lines = compile_for(conv(), TARGETS["sm_90"]).texts["ptx"].splitlines()
    assert serialised("\n".join(lines)) == ""
    first = next(i for i, line in enumerate(lines) if "wgmma.mma_async" in line)
    commit = next(i for i in range(first, len(lines)) if "wgmma.commit" in lines[i])
    accumulator = lines[first].split("{")[1].split(",")[0]
    planted = [*lines[:commit], f"add.f32 {accumulator}, {accumulator}, 0f3F800000;", *lines[commit:]]
    assert "is injected" in serialised("\n".join(planted))


def test_a_block_that_fits_nowhere_is_found() -> None:
    facts = facts_of(compile_for(conv(), TARGETS["sm_80"]))
    assert isinstance(facts, Facts)
    assert gate(replace(facts, blocks=0), TARGETS["sm_80"]) == ["no block fits on a multiprocessor"]


def test_every_kernel_has_a_case() -> None:
    lowered = {launch.kernel.__name__ for case in cases() for launch, _ in case.lower(CUDA).steps}
    modules = [importlib.import_module(f"tritoncnn.kernels.{m.name}") for m in pkgutil.iter_modules(kernels.__path__)]
    there = {name for module in modules for name, held in vars(module).items() if isinstance(held, triton.JITFunction)}
    assert {name for name in there if name.endswith("_kernel")} - lowered == set()


def test_the_cases_have_every_tile_of_every_matrix_kernel() -> None:
    launches = [launch for case in cases() for launch, _ in case.lower(CUDA).steps]

    def tiles(kernel: str, fields: tuple[str, ...]) -> set[tuple[int, ...]]:
        chosen = [launch for launch in launches if launch.kernel.__name__ == kernel]
        return {(*(x.constants[f] for f in fields), x.num_warps, x.num_stages) for x in chosen}

    for kernel, room in (("conv2d_kernel", conv2d), ("conv2d_dgrad_kernel", conv2d_dgrad), ("matmul_kernel", matmul)):
        fields = room.GPU_TILES[0]._fields[:3]
        assert {(*t[:3], t.num_warps, t.num_stages) for t in room.GPU_TILES} <= tiles(kernel, fields)
