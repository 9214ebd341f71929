"""The instrumented modes: accesses out of bounds, and programs that get into each other's way. All faults are planted."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

import tritoncnn
from tests.cpu.harness import line
from tritoncnn import cpu
from tritoncnn.cpu.sanitize import checked
from tritoncnn.errors import BoundsError, InputError, RaceError


def launch(kernel: Any, grid: Sequence[int], *args: Any, **constants: Any) -> None:
    with cpu.bounds(), cpu.active():
        kernel[tuple(grid)](*args, **constants)


@triton.jit
def copy_kernel(y_ptr, x_ptr, n, m, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offs, mask=offs < n)  # load
    tl.store(y_ptr + offs, x, mask=offs < m)  # store


TYPES = {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32", "m": "i32"}


def tensors(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(n), torch.arange(float(n))


# ---- bounds ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("n", "m", "what"), [(1001, 1000, "load"), (1000, 1001, "store")])
def test_an_off_by_one_mask_is_reported(n: int, m: int, what: str) -> None:
    y, x = tensors(1000)
    where = line(copy_kernel, what)
    name = "x_ptr" if what == "load" else "y_ptr"
    words = f"^copy_kernel: {what} out of bounds at {where} in program \\(3, 0, 0\\): index 1000 of {name}, "
    with pytest.raises(BoundsError, match=words + "which has elements 0 to 999$"):
        launch(copy_kernel, (4,), y, x, n, m, BLOCK=256)
    with cpu.bounds():
        kernel = cpu.compile_kernel(copy_kernel, TYPES, {"BLOCK": 256})
    with pytest.raises(BoundsError, match=words):
        kernel.launch((4,), (y, x, n, m))


def test_masked_lanes_are_never_reported_and_results_are_the_same() -> None:
    y, x = tensors(1000)
    launch(copy_kernel, (40,), y, x, 1000, 1000, BLOCK=256)
    assert torch.equal(x, y)


def test_a_view_reaches_to_its_last_element_only() -> None:
    y, x = tensors(1000)
    with pytest.raises(BoundsError, match="index 300 of y_ptr, which has elements 0 to 299$"):
        launch(copy_kernel, (4,), y[500:800], x, 1000, 301, BLOCK=256)
    launch(copy_kernel, (4,), y.as_strided((2, 150), (850, 1)), x, 1000, 1000, BLOCK=256)  # the hole is part of it
    with pytest.raises(BoundsError, match="index 0 of x_ptr, which has no elements$"):
        launch(copy_kernel, (1,), y, x[:0], 1, 0, BLOCK=256)


@triton.jit
def before_kernel(y_ptr, i_ptr, B: tl.constexpr):
    i = tl.load(i_ptr + tl.arange(0, B))
    p = y_ptr + i
    q = p - 2
    tl.atomic_add(q, 1.0)  # here


def test_an_atomic_in_front_of_its_tensor_is_reported() -> None:
    i = torch.tensor([5, 4, 1, 3])
    with pytest.raises(BoundsError, match=f"atomic out of bounds at {line(before_kernel, 'here')} .*index -1 of y_ptr"):
        launch(before_kernel, (1,), torch.zeros(8), i, B=4)


@triton.jit
def walk_kernel(y_ptr, x_ptr, w_ptr, n, B: tl.constexpr):
    p = x_ptr + tl.arange(0, B)
    q = w_ptr + tl.arange(0, B)
    total = tl.zeros([B], tl.float32)
    for _ in range(n):
        total += tl.load(p) * tl.load(q)  # loads
        p += B
        q += B
    y_ptr = y_ptr + tl.arange(0, B)
    tl.store(y_ptr, total)


def test_pointers_that_a_loop_carries_belong_to_their_own_argument() -> None:
    memory = torch.ones(128)
    with pytest.raises(
        BoundsError, match=f"{line(walk_kernel, 'loads')} .* index 32 of w_ptr, which has elements 0 to 31"
    ):
        launch(walk_kernel, (1,), torch.zeros(8), memory[:64], memory[64:96], 5, B=8)


@triton.jit
def choose_kernel(y_ptr, x_ptr, w_ptr, which):
    p = x_ptr
    if which > 0:
        p = w_ptr
    tl.store(y_ptr, tl.load(p + 9))


def test_a_pointer_of_several_arguments_may_be_in_any_of_them() -> None:
    y, x, w = torch.zeros(1), torch.zeros(4), torch.arange(10.0)
    launch(choose_kernel, (1,), y, x, w, 3)
    assert y.item() == 9
    with pytest.raises(BoundsError, match="of (x|w)_ptr, which has elements 0 to 3"):
        launch(choose_kernel, (1,), y, x, w[:4], -3)


@triton.jit(noinline=True)
def early(x_ptr, n):
    if n > 5:
        return tl.load(x_ptr + n)  # early
    return 0.0


@triton.jit
def calling_kernel(y_ptr, x_ptr, n):
    tl.store(y_ptr, 1.0)
    found = early(x_ptr, n)
    tl.store(y_ptr, found)


def test_a_failed_access_in_a_function_ends_its_caller() -> None:
    y, x = torch.zeros(1), torch.arange(8.0)
    launch(calling_kernel, (1,), y, x, 7)
    assert y.item() == 7
    with pytest.raises(BoundsError, match=f"{line(early, 'early')} in program .*index 8 of x_ptr"):
        launch(calling_kernel, (1,), y, x, 8)
    assert y.item() == 1


@triton.jit
def tile_kernel(y_ptr, desc, K, B: tl.constexpr):
    tile = desc.load([0, K])
    r = tl.arange(0, B)
    tl.store(y_ptr + r[:, None] * B + r[None, :], tl.dot(tile, tile))


def test_a_descriptor_reads_only_its_tensor() -> None:
    x, y = torch.ones(16, 24), torch.zeros(16, 16)
    launch(tile_kernel, (1,), y, TensorDescriptor.from_tensor(x, [16, 16]), 8, B=16)
    wanted = x[:, 8:24] @ x[:, 8:24]
    assert torch.equal(y, wanted)
    lying = TensorDescriptor(x[:8], [16, 24], [24, 1], [16, 16])
    with pytest.raises(BoundsError, match="index 200 of desc, which has elements 0 to 191$"):
        launch(tile_kernel, (1,), y, lying, 8, B=16)


def test_one_setting_checks_compiled_models_and_leaves_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 9, 9)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    plain = tritoncnn.compile(module, x)(x)
    monkeypatch.setenv("TRITONCNN_BOUNDS", "1")
    model = tritoncnn.compile(module, x)
    assert torch.equal(model(x), plain)
    short = torch.zeros(10)
    with cpu.active(), pytest.raises(BoundsError, match="index 10 of x_ptr"):
        copy_kernel[(1,)](torch.zeros(16), short, 11, 11, BLOCK=16)


def test_a_bound_plan_names_the_kernel_and_can_be_run_again() -> None:
    y, x = tensors(100)
    with cpu.bounds():
        kernel = cpu.compile_kernel(copy_kernel, TYPES, {"BLOCK": 64})
    to, source = cpu.Address(y.data_ptr(), 400), cpu.Address(x.data_ptr(), 400)
    plan = cpu.NativePlan([(kernel, (2,), (to, source, 100, 100)), (kernel, (2,), (to, source, 100, 101))])
    for _ in range(2):
        with pytest.raises(BoundsError, match="^copy_kernel: store out of bounds .* index 100 of y_ptr"):
            plan.run()
    assert torch.equal(y, x)
    plan.set_pointer(1, 3, 100)
    plan.run()
    plain = cpu.compile_kernel(copy_kernel, TYPES, {"BLOCK": 64})
    with pytest.raises(InputError, match="all kernels must be compiled in one mode"):
        cpu.NativePlan([(kernel, (2,), (to, source, 100, 100)), (plain, (2,), (to, source, 100, 100))])


def test_a_plain_kernel_has_no_trace_of_the_checks() -> None:
    plain = cpu.compile_kernel(copy_kernel, TYPES, {"BLOCK": 64})
    with cpu.bounds():
        guarded = cpu.compile_kernel(copy_kernel, TYPES, {"BLOCK": 64})
    assert "@inside" in guarded.llvm_ir()
    assert not any(word in plain.llvm_ir() for word in ("@inside", "@refused", "%record", "@sites"))


# ---- races -----------------------------------------------------------------------------------------------------------
@triton.jit
def overlap_kernel(y_ptr, x_ptr, STEP: tl.constexpr, B: tl.constexpr):
    pid = tl.program_id(0)
    x = tl.load(x_ptr + pid * B + tl.arange(0, B))
    tl.store(y_ptr + pid * STEP + tl.arange(0, B), x)  # put
    tl.store(y_ptr + pid * STEP + tl.arange(0, B), x + 1.0)  # again


def test_two_programs_that_store_to_one_place_are_both_named() -> None:
    y, x = tensors(64)
    cpu.check_races(overlap_kernel, (4,), (y, x), STEP=16, B=16)  # a program may rewrite what is its own
    assert torch.equal(y, x + 1)
    put, again = line(overlap_kernel, "put"), line(overlap_kernel, "again")
    both = rf"program \(0, 0, 0\) \(store at {again}\) and program \(1, 0, 0\) \(store at {put}\)"
    with pytest.raises(RaceError, match=f"^overlap_kernel: race: {both} both touch index 15 of y_ptr$"):
        cpu.check_races(overlap_kernel, (4,), (y, x), STEP=15, B=16)


@triton.jit
def shift_kernel(x_ptr, w_ptr, STEP: tl.constexpr, B: tl.constexpr):
    at = (tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)) * B + tl.arange(0, B)
    x = tl.load(x_ptr + at + STEP)  # read
    tl.store(w_ptr + at, x)  # write


@pytest.mark.parametrize(
    ("step", "first", "second"), [(8, ("load", "read"), ("store", "write")), (-8, ("store", "write"), ("load", "read"))]
)
def test_reading_what_another_program_writes_is_a_race(step: int, first: Any, second: Any) -> None:
    memory = torch.arange(64.0)
    x = memory[8:56]
    cpu.check_races(shift_kernel, (1, 2, 2), (x, torch.zeros(32)), STEP=0, B=8)
    words = [f"\\({what} at {line(shift_kernel, mark)}\\)" for what, mark in (first, second)]
    both = f"program \\(0, 0, 0\\) {words[0]} and program \\(0, 1, 0\\) {words[1]}"
    with pytest.raises(RaceError, match=f"{both} both touch index 8 of "):
        cpu.check_races(shift_kernel, (1, 2, 2), (memory if step < 0 else x, x), STEP=step if step > 0 else 0, B=8)


@triton.jit
def ticket_kernel(count_ptr, y_ptr, total_ptr):
    ticket = tl.atomic_add(count_ptr, 1)
    tl.store(y_ptr + ticket, tl.program_id(0))
    tl.atomic_add(total_ptr, 1)


def test_an_order_that_changes_the_result_is_reported_although_no_place_is_written_twice() -> None:
    count, total, y = (
        torch.zeros(1, dtype=torch.int32),
        torch.zeros(1, dtype=torch.int32),
        torch.zeros(5, dtype=torch.int64),
    )
    with pytest.raises(RaceError, match="order of the programs changes the result, first at index 0 of y_ptr;"):
        cpu.check_races(ticket_kernel, (5,), (count, y, total))
    assert (count.item(), total.item(), y.tolist()) == (5, 5, [0, 1, 2, 3, 4])


@triton.jit
def count_kernel(total_ptr, x_ptr, B: tl.constexpr):
    x = tl.load(x_ptr + tl.program_id(0) * B + tl.arange(0, B))
    tl.atomic_add(total_ptr, tl.sum(x))


def test_atomics_are_no_races_and_every_run_starts_from_the_same_memory() -> None:
    total, x = torch.zeros(1), torch.arange(64.0)
    kernel = cpu.compile_kernel(count_kernel, {"total_ptr": "*fp32", "x_ptr": "*fp32"}, {"B": 16})
    cpu.check_races(kernel, (4,), (total, x))
    assert total.item() == x.sum().item()


def test_the_race_check_checks_bounds_and_wants_tensors() -> None:
    y, x = tensors(64)
    with pytest.raises(BoundsError, match="index 64 of x_ptr"):
        cpu.check_races(overlap_kernel, (5,), (torch.zeros(80), x), STEP=16, B=16)
    with cpu.races():
        kernel = cpu.compile_kernel(overlap_kernel, {"y_ptr": "*fp32", "x_ptr": "*fp32"}, {"STEP": 16, "B": 16})
    plan = cpu.NativePlan([(kernel, (4,), (y.data_ptr(), x.data_ptr()))])
    with pytest.raises(InputError, match="overlap_kernel: races are sought in tensors only; y_ptr is a plain address"):
        plan.run()
    with pytest.raises(InputError, match="wanted a compiled kernel or a @triton.jit function; got int"):
        cpu.check_races(3, (1,), ())
    with pytest.raises(InputError, match="overlap_kernel is compiled already; B cannot be chosen now"):
        cpu.check_races(kernel, (1,), (y, x), B=3)


def test_tensors_too_large_for_their_shadows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = tensors(64)
    monkeypatch.setattr(checked, "SHADOW", 2**42)
    with pytest.raises(
        InputError, match="a race check needs 4398046511104 bytes for each of the 512 bytes of its tensors"
    ):
        cpu.check_races(overlap_kernel, (4,), (y, x), STEP=16, B=16)


def test_a_training_step_has_no_races() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 3),
    )
    example = torch.randn(4, 1, 8, 8), torch.tensor([0, 2, 1, 0])

    def step() -> tritoncnn.CompiledStep:
        own = copy.deepcopy(module)  # steps on one module train the same parameters
        return tritoncnn.compile_step(own, torch.nn.functional.cross_entropy, tritoncnn.AdamW(0.1), example)

    plain = step()
    with cpu.races():
        guarded = step()
    for _ in range(2):
        assert float(plain(*example)) == float(guarded(*example))
