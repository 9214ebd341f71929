"""Triton's own ways of launching work on CPU tensors: arguments, threads, forks, several users."""

import os
import subprocess
import sys
import threading

import numpy
import pytest
import torch
import triton
import triton.language as tl

from tests.cpu import small_kernels as kernels
from tests.cpu import tutorial_kernels
from tritoncnn import cpu
from tritoncnn.errors import KernelError


def run(program, **environment):
    """Standard output's words of a Python program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100,
        env={**os.environ, "PYTHONPATH": os.getcwd(), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# ---- arguments -------------------------------------------------------------------------------------------------------
@triton.jit
def _with_defaults(y_ptr, x_ptr, a=2, b: tl.constexpr = 3, SCALE: tl.constexpr = None):
    value = a + b
    if SCALE is not None:
        value *= SCALE
    if x_ptr is not None:
        value += tl.load(x_ptr)
    tl.store(y_ptr, value)


def test_defaults_constants_and_none(active):
    y, x = torch.zeros(1, dtype=torch.int32), torch.tensor([100], dtype=torch.int32)

    def stored(*args, **kwargs):
        _with_defaults[(1,)](y, *args, **kwargs)
        return y.item()

    assert stored(None) == 5
    assert stored(x) == 105
    assert stored(x, 10) == 113
    assert stored(None, b=4) == 6
    assert stored(None, a=True, b=tl.constexpr(1), SCALE=7) == 14
    assert stored(x_ptr=x, SCALE=2, a=1) == 108


@pytest.mark.parametrize("grid", [(2, 3), [6], (1, 2, 3), lambda meta: (6,), lambda meta: [3, 2]])
def test_grids_of_every_form(active, grid):
    y = torch.zeros(6, dtype=torch.int32)
    kernels.store_program[grid](y)
    assert y.tolist() == [0, 1, 2, 3, 4, 5]


@triton.jit(do_not_specialize=["n"])
def _plain_number(y_ptr, n):
    tl.store(y_ptr, n)


@triton.jit(do_not_specialize_on_alignment=["n"])
def _unaligned_number(y_ptr, n):
    tl.store(y_ptr, n)


@pytest.mark.parametrize("kernel", [_plain_number, _unaligned_number])
def test_numbers_that_are_not_specialised(active, kernel):
    y = torch.zeros(1, dtype=torch.int64)
    handles = set()
    for n in (2, 16, 3, 48):
        handles.add(id(kernel[(1,)](y, n)))
        assert y.item() == n
    assert len(handles) == 1
    kernel[(1,)](y, 1)
    assert y.item() == 1


def test_scalars_of_numpy_and_python(active):
    """Triton's own launch takes those that are Python numbers; ours takes every numpy scalar."""
    y = torch.zeros(1, dtype=torch.float64)
    for number in (numpy.float64(-2.25), True, 2**63, -(2**40), float("inf")):
        kernels.store_scalar[(1,)](y, number)
        assert y.item() == float(number)
    kinds = {"i32": numpy.int32(-7), "i64": numpy.int64(2**40), "u8": numpy.uint8(200), "fp32": numpy.float32(1.5)}
    for kind, number in kinds.items():
        cpu.compile_kernel(kernels.store_scalar, {"y_ptr": "*fp64", "value": kind}, {}).launch((1,), (y, number))
        assert y.item() == float(number)


def test_tensors_of_any_layout(active):
    base = torch.arange(64.0).reshape(8, 8)
    for x in (base[2:, 1:], base[::2, :7], base[5:5], base[3:4, 2:3]):
        out = torch.empty(x.shape)
        tutorial_kernels.softmax[(2,)](out, x, x.stride(0), out.stride(0), *x.shape, BLOCK=8, num_stages=1)
        torch.testing.assert_close(out, torch.softmax(x, 1))


def test_misaligned_tensors(active):
    odd = torch.frombuffer(bytearray(16 * 4 + 1), dtype=torch.float32, offset=1)
    assert odd.data_ptr() % 4 == 1
    kernels.scale[(1,)](odd, torch.arange(16.0), 16, FACTOR=2.0)
    assert torch.equal(odd, 2 * torch.arange(16.0))


@triton.jit
def _touch(y_ptr, at):
    tl.store(y_ptr + at, tl.load(y_ptr + at) + 7)


def test_places_beyond_two_to_the_31(active):
    """The tensor's memory is never touched but in two pages."""
    y = torch.from_numpy(numpy.memmap("/dev/zero", dtype=numpy.int8, mode="c", shape=(2**31 + 100,)))
    _touch[(1,)](y, 2**31 + 50)
    assert y[2**31 + 50] == 7
    assert y[50] == 0


def test_damaged_code_in_tritons_cache_is_refused(active, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    y = torch.zeros(16)
    fresh = triton.jit(kernels.scale.fn)
    fresh[(1,)](y, y + 1, 16, FACTOR=11.5)
    (entry,) = tmp_path.rglob("*.obj")
    data = entry.read_bytes()
    entry.write_bytes(data[:900] + bytes([data[900] ^ 1]) + data[901:])
    with pytest.raises(KernelError, match="scale: its compiled code in Triton's cache is damaged; delete that cache"):
        triton.jit(kernels.scale.fn)[(1,)](y, y + 1, 16, FACTOR=11.5)


# ---- standing beside other users of Triton ---------------------------------------------------------------------------
IMPORTS = """
import sys, triton, triton.backends
from triton.runtime.driver import driver
def state():
    return sorted(triton.backends.backends), driver._active, driver._default, sorted(vars(triton.language)), triton.jit
before = state()
import tritoncnn, tritoncnn.cpu, tritoncnn.cpu.run.driver, tritoncnn.cpu.run.compiler, tritoncnn.cpu.lower, tritoncnn.cpu.run.plan
print(state() == before)
import torch
@triton.jit
def nothing(x_ptr): pass
try:
    nothing[(1,)](torch.zeros(1))
except RuntimeError as error:
    print("active" in str(error))
"""


def test_importing_changes_nothing_for_others(tmp_path):
    path = tmp_path / "imports.py"
    path.write_text(IMPORTS)
    words = run(f"exec(compile(open({str(path)!r}).read(), {str(path)!r}, 'exec'))", CUDA_VISIBLE_DEVICES="")
    assert words == ["True", "True"]


def test_a_kernel_serves_both_before_and_after(active):
    """A JITFunction keeps what it compiled per device: ours must not be found by another driver, nor lost."""
    y = torch.zeros(16)
    first = kernels.scale[(1,)](y, y + 1, 16, FACTOR=4.0)
    with cpu.active():
        assert kernels.scale[(1,)](y, y + 1, 16, FACTOR=4.0) is first


# ---- threads and forks -----------------------------------------------------------------------------------------------
THREADS = """
import random, sys, threading
import torch
from tests.cpu import small_kernels as kernels
from tritoncnn import cpu

torch.set_num_threads(2)
cpu.activate()
start, faults = threading.Barrier(6), []

def work(me):
    try:
        start.wait()
        for turn in range(12):
            factor = float((turn + me // 3) % 6)
            x, y = torch.arange(100.0) + me, torch.zeros(100)
            kernels.scale[(7,)](y, x, 100, FACTOR=factor)
            assert torch.equal(y, factor * x), (me, turn)
            z = torch.zeros(24, dtype=torch.int32)
            kernels.store_program[(2, 3, 4)](z)
            assert z.tolist() == list(range(24)), (me, turn)
            native = cpu.compile_kernel(kernels.scale, {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32"}, {"FACTOR": factor + 8})
            native.launch((7,), (y, x, 100))
            assert torch.equal(y, (factor + 8) * x), (me, turn)
    except BaseException as error:
        faults.append(repr(error))

threads = [threading.Thread(target=work, args=(me,)) for me in range(6)]
for t in threads: t.start()
for t in threads: t.join()
print(*faults or ["good"])
"""


def test_threads_that_compile_and_launch_at_once(tmp_path):
    for turn in range(2):
        folder = {"TRITON_CACHE_DIR": str(tmp_path / f"t{turn}"), "TRITONCNN_CACHE": str(tmp_path / f"c{turn}")}
        assert run(THREADS, **folder) == ["good"]


FORK = """
import os, sys, threading, time
import torch
from tests.cpu import small_kernels as kernels
from tritoncnn import cpu

torch.set_num_threads(2)
cpu.activate()
x, y = torch.arange(100.0), torch.zeros(100)
kernels.scale[(7,)](y, x, 100, FACTOR=2.0)
native = cpu.compile_kernel(kernels.scale, {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32"}, {"FACTOR": 3.0})
plan = cpu.NativePlan([(native, (7,), (y.data_ptr(), x.data_ptr(), 100))])
plan.run()

def busy():
    turn = 0
    while not done.is_set():
        turn += 1
        cpu.compile_kernel(kernels.scale, {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32"}, {"FACTOR": 100.0 + turn})
done = threading.Event()
thread = threading.Thread(target=busy)
thread.start()
for turn in range(4):
    time.sleep(0.02 * turn)
    child = os.fork()
    if child == 0:
        out = [0.0] * 100
        y.zero_()
        plan.run()
        good = y.tolist() == [3.0 * i for i in range(100)]
        for factor in (2.0, 5.0 + turn):  # known, and compiled here
            kernels.scale[(7,)](y, x, 100, FACTOR=factor)
            good &= y.tolist() == [factor * i for i in range(100)]
            again = cpu.compile_kernel(kernels.scale, {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32"}, {"FACTOR": factor})
            again.launch((7,), (y, x, 100))
            good &= y.tolist() == [factor * i for i in range(100)]
        os._exit(0 if good else 3)
    end = time.time() + 15
    while time.time() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            print(os.waitstatus_to_exitcode(status))
            break
        time.sleep(0.005)
    else:
        os.kill(child, 9)
        print("hangs")
done.set()
thread.join()
kernels.scale[(7,)](y, x, 100, FACTOR=2.0)
print(y.tolist() == [2.0 * i for i in range(100)])
"""


def test_a_forked_child_launches_and_compiles(tmp_path):
    folder = {"TRITON_CACHE_DIR": str(tmp_path / "t"), "TRITONCNN_CACHE": str(tmp_path / "c")}
    assert run(FORK, **folder) == ["0"] * 4 + ["True"]


@triton.jit
def _turn_taking(flag_ptr, seen_ptr, turns):
    """Program 0 waits, for so many looks, until program 1 has spoken: both run at once, or it gives up."""
    pid = tl.program_id(0)
    if pid == 0:
        looks = 0
        while (tl.atomic_add(flag_ptr, 0) == 0) & (looks < turns):
            looks += 1
        tl.store(seen_ptr, tl.atomic_add(flag_ptr, 0))
    else:
        tl.atomic_add(flag_ptr, 1)


def test_torchs_number_of_threads_is_honoured(active):
    """With two threads the programs of a launch overlap; with one they run in order."""
    before = torch.get_num_threads()

    def seen(threads):
        torch.set_num_threads(threads)
        flag, out = torch.zeros(1, dtype=torch.int32), torch.full((1,), -1, dtype=torch.int32)
        _turn_taking[(2,)](flag, out, 50_000_000 if threads == 2 else 1000)
        return out.item()

    try:
        assert seen(2) == 1
        assert seen(1) == 0
        assert seen(2) == 1
    finally:
        torch.set_num_threads(before)


def test_activation_in_one_thread_serves_all(active):
    x, y = torch.arange(16.0), torch.zeros(16)
    thread = threading.Thread(target=lambda: kernels.scale[(1,)](y, x, 16, FACTOR=9.0))
    thread.start()
    thread.join()
    assert torch.equal(y, 9 * x)
