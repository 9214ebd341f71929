"""The Triton plug-in: nothing changes for others until it is activated, and all is as before afterwards."""

import os
import re
import subprocess
import sys

import pytest
import torch
import triton
import triton.language as tl
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.two_tensor import TwoTensor
from triton.runtime.driver import driver

from tests.cpu import small_kernels as kernels
from tritoncnn import cpu
from tritoncnn.errors import DTypeError, InputError, KernelError, ShapeError


def run(program):
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_the_room_imports_nothing_heavy():
    heavy = run("import sys, tritoncnn.cpu\nfor m in ('torch', 'triton', 'llvmlite', 'numpy'): print(m in sys.modules)")
    assert heavy == ["False"] * 4


def test_compiling_and_launching_leave_tritons_choice_of_driver_alone():
    program = """
import triton.backends
from triton.runtime.driver import driver
before = sorted(triton.backends.backends), driver._active, driver._default
from tritoncnn import cpu
cpu.self_test()
print((sorted(triton.backends.backends), driver._active, driver._default) == before)
cpu.activate()
print(type(driver.active).__module__)
cpu.deactivate()
print((sorted(triton.backends.backends), driver._active, driver._default) == before)
"""
    assert run(program) == ["True", "tritoncnn.cpu.run.driver", "True"]


def test_tritons_own_launch_runs_on_cpu_tensors():
    x, y = torch.arange(40.0), torch.zeros(40)
    with cpu.active():
        kernels.scale[(3,)](y, x, 40, FACTOR=3.0)
        assert torch.equal(y, 3 * x)
        kernels.scale[lambda meta: (triton.cdiv(40, meta["BLOCK"]),)](y, x, 40, FACTOR=5.0, BLOCK=32)
    assert torch.equal(y, 5 * x)


def test_tuples_and_functions_pass_through_tritons_own_launch():
    x, y = torch.arange(40.0), torch.zeros(40)
    with cpu.active():
        args = (torch.tensor(3.0), torch.tensor(5.0))
        kernels.with_slot[(3,)](y, x, args, 40, kernels.axpb, (1, (2, 3)), 16)
        assert torch.equal(y, 9 * x + 5)
        kernels.with_slot[(3,)](y, x, None, 40, None, (1, (2, 3)), 16)
    assert torch.equal(y, x)


def test_the_autotuner_works():
    tuned = triton.autotune([triton.Config({"BLOCK": b}) for b in (16, 64)], key=["n"])(kernels.scale)
    x, y = torch.arange(200.0), torch.zeros(200)
    with cpu.active():
        tuned[lambda meta: (triton.cdiv(200, meta["BLOCK"]),)](y, x, 200, FACTOR=2.0)
    assert torch.equal(y, 2 * x)
    assert tuned.best_config.kwargs["BLOCK"] in (16, 64)


def test_scalars_and_specialised_values_arrive():
    y = torch.zeros(1)
    with cpu.active():
        for value in (1.5, -2.0):
            kernels.store_scalar[(1,)](y, value)
            assert y.item() == value
        z = torch.zeros(1, dtype=torch.int64)
        for value in (1, 16, 3, 2**40):
            kernels.store_scalar[(1,)](z, value)
            assert z.item() == value


def test_an_empty_grid_does_nothing():
    y = torch.zeros(16)
    with cpu.active():
        kernels.scale[(0,)](y, y + 1, 16, FACTOR=3.0)
    assert (y == 0).all()


@pytest.mark.parametrize("grid", [(1.0,), ("1",), (-1,), (-1, -1), (1, 2.5), (2**20, 2**20), (1, 1, -3)], ids=str)
def test_a_grid_that_cannot_be_launched_is_told(grid):
    y = torch.zeros(16)
    with cpu.active(), pytest.raises(ShapeError, match=r"^scale: grid .*\d"):
        kernels.scale[grid](y, y + 1, 16, FACTOR=3.0, BLOCK=16)
    assert (y == 0).all()


@pytest.mark.parametrize("value", [1e300, -3.5e38])
def test_a_number_that_does_not_fit_its_type_is_told(value):
    with cpu.active(), pytest.raises(DTypeError, match=r"^store_scalar: \w+ must be a number that fits fp32; got "):
        kernels.store_scalar[(1,)](torch.zeros(1), value)


def test_activation_nests_and_ends():
    before = driver._active
    with cpu.active():
        outer = driver._active
        with cpu.active():
            assert driver._active is not before
        assert driver._active is outer
        assert "tritoncnn" in triton.backends.backends
    assert driver._active is before
    assert "tritoncnn" not in triton.backends.backends
    with pytest.raises(KernelError, match=r"^deactivate: the CPU backend is not active"):
        cpu.deactivate()


def test_kernels_may_die_after_the_backend_was_left():
    """Triton 3.9 unloads a kernel that is collected through the driver that is active by then: here there is none."""
    program = """
import gc, sys
import torch
from tests.cpu import small_kernels as kernels
from tritoncnn import cpu
sys.unraisablehook = lambda what: print("unraisable", what.exc_value)
with cpu.active():
    kernels.scale[(1,)](torch.zeros(16), torch.zeros(16), 16, FACTOR=3.0)
kernels.scale.device_caches.clear()
gc.collect()
print("done")
"""
    assert run(program) == ["done"]


def test_it_ends_when_the_body_raises():
    before = driver._active
    with pytest.raises(ZeroDivisionError), cpu.active():
        raise ZeroDivisionError
    assert driver._active is before


def test_tensors_elsewhere_are_refused():
    x = torch.zeros(16, device="meta")
    with (
        cpu.active(),
        pytest.raises(InputError, match=re.escape("scale: y_ptr must be in CPU memory; got a tensor on meta")),
    ):
        kernels.scale[(1,)](x, x, 16, FACTOR=3.0)


def fake():
    with FakeTensorMode() as mode:
        return mode.from_tensor(torch.ones(16))


def freed():
    x = torch.ones(16)
    x.untyped_storage().resize_(0)
    return x


NO_MEMORY = "must be a tensor with memory of its own; got a {} without any"
UNUSABLE = {
    "fake": (fake, NO_MEMORY.format("FakeTensor")),
    "autograd's zero": (lambda: torch._efficientzerotensor(16), NO_MEMORY.format("Tensor")),
    "freed": (freed, NO_MEMORY.format("Tensor")),
    "a subclass around others": (lambda: TwoTensor(torch.ones(16), torch.ones(16)), NO_MEMORY.format("TwoTensor")),
    "negative": (
        lambda: torch.complex(torch.ones(16), torch.ones(16)).conj().imag,
        "must lie in memory as it is; got a Tensor to be negated: resolve_neg() does",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNUSABLE)
def test_tensors_without_memory_that_can_be_read_as_it_lies_are_refused_by_name(kind):
    make, text = UNUSABLE[kind]
    x, y = make(), torch.zeros(16)
    for at, name in ((0, "y_ptr"), (1, "x_ptr")):
        arguments = [y, y, 16]
        arguments[at] = x
        with cpu.active(), pytest.raises(InputError, match=re.escape(f"scale: {name} {text}")):
            kernels.scale[(1,)](*arguments, FACTOR=3.0)
        with cpu.bounds(), cpu.active(), pytest.raises(InputError, match=re.escape(f"scale: {name} {text}")):
            kernels.scale[(1,)](*arguments, FACTOR=3.0)
        kernel = cpu.compile_kernel(kernels.scale, {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32"}, {"FACTOR": 3.0})
        with pytest.raises(InputError, match=re.escape(f"scale: {name} {text}")):
            kernel.launch((1,), arguments)
    assert not y.any()


def test_an_empty_tensor_needs_no_memory():
    with cpu.active():
        kernels.scale[(1,)](torch.zeros(0), torch.zeros(0), 0, FACTOR=3.0)


def test_launches_work_whatever_device_torch_makes_tensors_on_by_default():
    x, y = torch.ones(16), torch.zeros(16)
    torch.set_default_device("meta")
    try:
        with cpu.active():
            kernels.scale[(1,)](y, x, 16, FACTOR=3.0)
            assert triton.runtime.driver.active.get_empty_cache_for_benchmark().device.type == "cpu"
        cpu.self_test()
    finally:
        torch.set_default_device(None)
    assert torch.equal(y, 3 * x)


def test_the_driver_is_never_chosen_by_triton():
    from tritoncnn.cpu.run.driver import CpuDriver

    assert not CpuDriver.is_active()


@triton.jit
def _where_am_i(y_ptr):
    tl.store(y_ptr, tl.program_id(0) + 1)


def test_a_compiled_kernel_can_be_launched_by_its_handle():
    y = torch.zeros(1, dtype=torch.int32)
    with cpu.active():
        compiled = _where_am_i[(1,)](y)
        y.zero_()
        compiled[(1, 1, 1)](y)
        assert y.item() == 1
        with pytest.raises(DTypeError, match="_where_am_i: y_ptr must be a tensor; got int"):
            compiled[(1, 1, 1)](5)
