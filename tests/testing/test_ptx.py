"""The PTX interpreter finds what is planted in the code of a convolution."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch

from tritoncnn.gpu import compile_for, find_target
from tritoncnn.ir import TensorType
from tritoncnn.kernels.conv2d import Tile, conv2d
from tritoncnn.testing.ptx import PtxRun, run_ptx
from tritoncnn.testing.ptx_memory import PtxFault

NHWC, RSCK = (0, 2, 3, 1), (2, 3, 1, 0)
X, W, Y = (1, 32, 8, 8), (32, 32, 3, 3), (1, 32, 8, 8)


def run(change: Callable[[str], str] = str, short: int = 0) -> tuple[PtxRun, float]:
    """(what the interpreter says, relative error) of a convolution in f16 with changed PTX, or an x that ends early."""
    types = [TensorType.dense("f16", shape, order) for shape, order in ((Y, NHWC), (X, NHWC), (W, RSCK))]
    launch = conv2d(*types, padding=(1, 1), tile=Tile(64, 32, 32, 4, 3), target=find_target("sm_80").target)
    binary = compile_for(launch, find_target("sm_80"))
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(shape, generator=generator).half() for shape in (X, W))
    stored = {
        "y": torch.full((1, 8, 8, 32), float("nan"), dtype=torch.float16),
        "x": x.permute(NHWC).contiguous(),
        "w": w.permute(RSCK).contiguous(),
    }
    tensors = {**stored, "x": stored["x"].flatten()[: x.numel() - short]}
    text = change(binary.texts["ptx"])
    done = run_ptx(text, tensors, grid=launch.grid, warps=binary.warps, shared=binary.shared)
    wanted = torch.nn.functional.conv2d(x.double(), w.double(), padding=1).permute(NHWC)
    return done, float((stored["y"].double() - wanted).norm() / wanted.norm())


def test_a_right_kernel_is_right() -> None:
    done, error = run()
    assert error < 1e-3
    assert done.races == ()
    assert done.steps > 100


def test_reading_behind_a_tensor_names_it() -> None:
    with pytest.raises(PtxFault, match=r"threads? out of bounds, the first at byte \d+ of x, which has \d+ bytes"):
        run(short=8)


def test_a_copy_that_is_not_waited_for_leaves_poison() -> None:
    _, error = run(lambda text: re.sub(r"cp\.async\.wait_group(\s+)\d", r"cp.async.wait_group\g<1>9", text))
    assert not error < 0.1


def test_missing_barriers_are_races() -> None:
    done, _ = run(lambda text: re.sub(r"bar\.sync\s+0;", "", text))
    assert any("since the last barrier" in race for race in done.races)


def test_an_instruction_that_is_not_known_is_refused() -> None:
    with pytest.raises(PtxFault, match=r"brev\.b32 is not known to the interpreter"):
        run(lambda text: text.replace("ret;", "brev.b32 %r1, %r2;\nret;"))


COMPUTED = """
    mov.b64  %rd90, X;
    add.s64  %rd90, %rd90, OFFSET;
    ld.param.b64 REGISTER, [%rd90];
"""


def of_computed_address(text: str, offset: int) -> str:
    """The second parameter is read from an address that is computed from the first one's."""
    (register, name), *_ = re.findall(r"ld\.param\.b64\s+(%rd\d+), \[(\w+_param_1)\];", text)
    code = COMPUTED.replace("X", name.replace("_1", "_0")).replace("OFFSET", str(offset)).replace("REGISTER", register)
    return re.sub(rf"\s*ld\.param\.b64\s+{register}, \[{name}\];", code, text, count=1)


def test_the_address_of_a_parameter_is_a_number() -> None:
    done, error = run(lambda text: of_computed_address(text, 8))
    assert done.races == ()
    assert error < 1e-3


@pytest.mark.parametrize("offset", [4, 800])
def test_an_address_of_no_parameter_is_refused(offset: int) -> None:
    with pytest.raises(PtxFault, match="that of none"):
        run(lambda text: of_computed_address(text, offset))


def test_a_barrier_that_some_threads_miss_is_refused() -> None:
    text = """
.visible .entry k(
.param .u64 k_param_0
)
{
setp.lt.u32 %p1, %tid.x, 5;
@%p1 bra $END;
bar.sync 0;
$END:
ret;
}
"""
    with pytest.raises(PtxFault, match="only some threads of the block come to this barrier"):
        run_ptx(text, {"y": torch.zeros(1)}, grid=(1,), warps=1, shared=0)


def test_threads_that_branch_apart_come_together_again() -> None:
    text = """
.visible .entry k(
.param .u64 k_param_0
)
{
ld.param.b64 %rd1, [k_param_0];
mov.u32 %r1, %tid.x;
mul.wide.u32 %rd2, %r1, 4;
add.s64 %rd3, %rd1, %rd2;
mov.b32 %r2, 1;
setp.lt.u32 %p1, %r1, 5;
@%p1 bra $END;
mov.b32 %r2, 2;
$END:
bar.sync 0;
st.global.b32 [%rd3], %r2;
ret;
}
"""
    y = torch.zeros(32, dtype=torch.int32)
    run_ptx(text, {"y": y}, grid=(1,), warps=1, shared=0)
    assert y.tolist() == [1] * 5 + [2] * 27
