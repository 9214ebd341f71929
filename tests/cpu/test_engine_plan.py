"""NativePlan: replay equals single launches, on any number of threads, from several callers, and after a fork."""

import ctypes
import os
import re
import sys
import threading

import pytest
import torch

from tests.cpu import small_kernels as kernels
from tests.cpu.child import exit_code_of
from tritoncnn import cpu
from tritoncnn.errors import DTypeError, InputError, ShapeError

N, BLOCK = 1000, 16
GRID = -(-N // BLOCK)


@pytest.fixture(scope="module")
def scale():
    return cpu.compile_kernel(kernels.scale, {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32"}, {"FACTOR": 2.0})


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def chain(rotate, buffers, sizes, **more):
    """A plan in which every launch reads, from other places, what the launch before it wrote."""
    launches = []
    for i, n in enumerate(sizes):
        y, x = buffers[(i + 1) % 2], buffers[i % 2]
        launches.append((rotate, (-(-n // BLOCK),), (y.data_ptr(), x.data_ptr(), n)))
    return cpu.NativePlan(launches, **more)


def expected(x, sizes):
    """The same chain by torch."""
    buffers = [x.clone(), torch.zeros_like(x)]
    for i, n in enumerate(sizes):
        offs = torch.arange(n)
        buffers[(i + 1) % 2][:n] = buffers[i % 2][(offs + n // 2 + 1) % n] + offs.int()
    return buffers


# one program and many programs in every order: led alone, shared, first, last
SIZES = [(N,) * 9, (9, N, N, 9, 9, N, 16, 16), (N, 9, 9, N), (9, 9, 9), (9, N, 9), (N,), (), (5000, 9, 333, 5000, 17)]


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("sizes", SIZES)
def test_each_launch_sees_the_results_of_those_before(rotate, sizes, threads):
    x = torch.randint(-100, 100, (5000,), dtype=torch.int32)
    buffers = [x.clone(), torch.zeros_like(x)]
    plan = chain(rotate, buffers, sizes, threads=threads)
    wanted = expected(x, sizes)
    for _ in range(20):  # counters start again at each run
        buffers[0].copy_(x)
        buffers[1].zero_()
        plan.run()
        assert torch.equal(buffers[0], wanted[0])
        assert torch.equal(buffers[1], wanted[1])


def congruence(value, turns):
    """value -> 1664525 * value + 1013904223, so many times, modulo 2**64; by squaring."""
    a, c = 1664525, 1013904223
    while turns:
        if turns & 1:
            value = (a * value + c) % 2**64
        a, c, turns = a * a % 2**64, (a * c + c) % 2**64, turns >> 1
    return value


@pytest.mark.parametrize("slow", [0, 1])
def test_a_launch_waits_for_the_slowest_program_of_the_one_before(slow):
    kernel = cpu.compile_kernel(kernels.slow_step, {"y_ptr": "*i64", "x_ptr": "*i64", "turns_ptr": "*i32"}, {})
    turns = [50_000, 50_000]  # about 100 us: time enough for the other thread to come
    turns[slow] = 500_000
    lengths = torch.tensor(turns, dtype=torch.int32)
    buffers = [torch.tensor([3, 5]), torch.zeros(2, dtype=torch.int64)]
    launches = []
    wanted = [3, 5]
    for i in range(6):
        y, x = buffers[(i + 1) % 2], buffers[i % 2]
        launches.append((kernel, (2,), (y.data_ptr(), x.data_ptr(), lengths.data_ptr())))
        wanted = [congruence(value, n) for value, n in zip(wanted[::-1], turns, strict=True)]
    plan = cpu.NativePlan(launches, threads=2)
    for _ in range(10):
        buffers[0].copy_(torch.tensor([3, 5]))
        plan.run()
        assert [value % 2**64 for value in buffers[0].tolist()] == wanted


def test_replay_equals_single_launches(rotate, two_threads):
    sizes = (N, 9, N, N)
    x = torch.randint(-100, 100, (N,), dtype=torch.int32)
    planned, single = [x.clone(), torch.zeros_like(x)], [x.clone(), torch.zeros_like(x)]
    chain(rotate, planned, sizes).run()
    for i, n in enumerate(sizes):
        rotate.launch((-(-n // BLOCK),), (single[(i + 1) % 2], single[i % 2], n))
    assert torch.equal(planned[0], single[0])
    assert torch.equal(planned[1], single[1])


def test_launches_marked_serial_give_the_same(rotate, two_threads):
    sizes = (N,) * 6
    x = torch.randint(-100, 100, (N,), dtype=torch.int32)
    wanted = expected(x, sizes)
    for serial in ({0}, {1, 2}, {5}, set(range(6))):
        buffers = [x.clone(), torch.zeros_like(x)]
        chain(rotate, buffers, sizes, serial=serial).run()
        assert torch.equal(buffers[0], wanted[0])


def test_empty_grids_are_left_out_and_keep_their_place(scale, two_threads):
    x, y, z = torch.arange(64.0), torch.zeros(64), torch.zeros(64)
    plan = cpu.NativePlan(
        [
            (scale, (0,), (z.data_ptr(), x.data_ptr(), 64)),
            (scale, (4,), (y.data_ptr(), x.data_ptr(), 64)),
            (scale, (4, 0), (z.data_ptr(), x.data_ptr(), 64)),
        ]
    )
    assert len(plan) == 3
    plan.run()
    assert torch.equal(y, 2 * x)
    plan.set_pointer(1, 0, z.data_ptr())
    plan.run()
    assert torch.equal(z, 2 * x)


def test_pointers_can_be_bound_again(scale):
    x, y, other, result = torch.arange(64.0), torch.zeros(64), torch.ones(64), torch.zeros(64)
    plan = cpu.NativePlan([(scale, (4,), (y.data_ptr(), x.data_ptr(), 64))])
    plan.run()
    assert torch.equal(y, 2 * x)
    plan.set_pointer(0, 1, other.data_ptr())
    plan.set_pointer(0, 0, result.data_ptr())
    plan.run()
    assert torch.equal(result, 2 * other)
    assert torch.equal(y, 2 * x)
    with pytest.raises(InputError, match=r"^scale: has arguments 0 to 2; got 3"):
        plan.set_pointer(0, 3, 0)
    with pytest.raises(DTypeError, match=r"^scale: n must be a number that fits i32; got 4294967296"):
        plan.set_pointer(0, 2, 2**32)


def test_a_plan_refuses_what_a_launch_refuses(scale):
    with pytest.raises(InputError, match=r"^scale: takes 3 arguments; got 1"):
        cpu.NativePlan([(scale, (1,), (0,))])
    with pytest.raises(ShapeError, match=re.escape("programs; at most 2**31 can be launched")):
        cpu.NativePlan([(scale, (2**31, 2), (0, 0, 0))])
    with pytest.raises(InputError, match=r"^NativePlan: threads must be at least 1; got 0"):
        cpu.NativePlan([], threads=0)


def test_torchs_setting_is_read_at_each_run(scale, two_threads, monkeypatch):
    from tritoncnn.cpu.run import engine

    x, y = torch.arange(64.0), torch.zeros(64)
    plan = cpu.NativePlan([(scale, (4,), (y.data_ptr(), x.data_ptr(), 64))])
    record = plan._records[0]
    for threads in (2, 1, 2):
        torch.set_num_threads(threads)
        assert engine.threads() == threads
        plan.run()
        slot = int.from_bytes(ctypes.string_at(record + 32, 8), "little")
        assert slot == threads


def test_several_python_threads_run_one_plan_and_their_own(rotate, two_threads):
    x = torch.randint(-100, 100, (N,), dtype=torch.int32)
    sizes = (N, 9, N, N, N)
    wanted = expected(x, sizes)
    shared_buffers = [x.clone(), torch.zeros_like(x)]
    shared = cpu.NativePlan(
        [(rotate, (GRID,), (shared_buffers[1].data_ptr(), shared_buffers[0].data_ptr(), N))], threads=2
    )
    failures = []

    def work():
        buffers = [x.clone(), torch.zeros_like(x)]
        own = chain(rotate, buffers, sizes)
        for _ in range(15):
            buffers[0].copy_(x)
            own.run()
            shared.run()
            if not torch.equal(buffers[1], wanted[1]):
                failures.append("a thread's own plan gave other values")

    callers = [threading.Thread(target=work) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
        assert not caller.is_alive()
    assert failures == []
    assert torch.equal(shared_buffers[1], expected(x, (N,))[1])


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_works_on_one_thread(rotate, two_threads):
    x = torch.randint(-100, 100, (N,), dtype=torch.int32)
    buffers = [x.clone(), torch.zeros_like(x)]
    sizes = (N, N, N)
    plan = chain(rotate, buffers, sizes)
    plan.run()  # the pool's threads exist now, and will not in the child
    wanted = expected(x, sizes)[1].tolist()
    buffers[0].copy_(x)
    child = os.fork()
    if child == 0:
        plan.run()
        same = buffers[1].tolist() == wanted
        rotate.launch((GRID,), (buffers[0], buffers[1], N))
        os._exit(0 if same else 3)
    assert exit_code_of(child) == 0
    plan.run()  # and the parent still has its threads
