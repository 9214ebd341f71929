"""tl.device_print and tl.device_assert on the CPU backend."""

from __future__ import annotations

import re

import pytest
import torch
import triton
import triton.language as tl

from tritoncnn import cpu
from tritoncnn.cpu.lower import lower
from tritoncnn.errors import KernelError


@triton.jit
def printing_kernel(X, n, BLOCK: tl.constexpr):
    x = tl.load(X + tl.arange(0, BLOCK)[:, None] * 2 + tl.arange(0, 2)[None, :])
    tl.device_print("values", x)
    tl.device_print('"{quoted}" %x', n, x.to(tl.int8))
    tl.device_print("bits", n, hex=True)
    tl.device_print("small", x.to(tl.bfloat16), x > 1, n.to(tl.uint8))
    if tl.program_id(0) == 1:
        tl.device_print("here")


def test_a_print_shows_program_index_and_value_of_each_element(capfd: pytest.CaptureFixture[str]) -> None:
    x = torch.tensor([[0.0, 1.5], [-2.25, 3.0]])
    with cpu.active():
        printing_kernel[(2,)](x, -1, BLOCK=2)
    said = capfd.readouterr().out.splitlines()
    for pid in range(2):
        mine = [line.removeprefix(f"pid ({pid}, 0, 0) ") for line in said if line.startswith(f"pid ({pid}, 0, 0) ")]
        values = [("0, 0", 0.0), ("0, 1", 1.5), ("1, 0", -2.25), ("1, 1", 3.0)]
        quoted = '"{quoted}" %x: '
        assert mine == [
            *[f"idx ({i}) values: {v:f}" for i, v in values],
            f"idx () {quoted}(operand 0) -1",
            *[f"idx ({i}) {quoted}(operand 1) {int(v)}" for i, v in values],
            "idx () bits: 0xffffffff",
            *[f"idx ({i}) small: (operand 0) {v:f}" for i, v in values],
            *[f"idx ({i}) small: (operand 1) {int(v > 1)}" for i, v in values],
            "idx () small: (operand 2) 255",
            *(["here"] if pid else []),
        ]


@triton.jit
def in_loop_kernel(Y, n, BLOCK: tl.constexpr):
    total = tl.zeros([BLOCK], tl.int32)
    for i in range(n):
        total += tl.load(Y + tl.arange(0, BLOCK)) + i
        tl.store(Y + tl.arange(0, BLOCK), total)
        tl.device_print("total", total)


def test_a_print_in_a_loop_shows_each_turns_values(capfd: pytest.CaptureFixture[str]) -> None:
    with cpu.active():
        in_loop_kernel[(1,)](torch.ones(2, dtype=torch.int32), 3, BLOCK=2)
    said = [line.partition(": ")[2] for line in capfd.readouterr().out.splitlines()]
    assert said == ["1", "1", "3", "3", "8", "8"]


@triton.jit
def checking_kernel(Y, X, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(X + at)
    tl.device_assert(x < n, 'too "large", %x')
    tl.store(Y + at, tl.load(X + x))


@triton.jit
def scalar_check_kernel(Y, n):
    for i in range(n):
        tl.device_assert(i < 3, "three turns at most")
        tl.store(Y, i)


def test_a_failed_assertion_raises_and_ends_its_program() -> None:
    x = torch.arange(32, dtype=torch.int32)
    x[21] = 2**30  # the load that follows would be out of bounds
    y = torch.full_like(x, -1)
    with cpu.active():
        with pytest.raises(
            KernelError, match=r"checking_kernel: device_assert failed at .*test_messages\.py:\d+ in"
        ) as info:
            checking_kernel[(4,)](y, x, 32, BLOCK=8, debug=True)
        assert 'program (2, 0, 0): too "large", %x' in str(info.value)
        others = [k for k in range(32) if k // 8 != 2]
        assert torch.equal(y[others], x[others])
        assert (y[16:24] == -1).all()
        x[21] = 3
        checking_kernel[(4,)](y, x, 32, BLOCK=8, debug=True)  # nothing is left of the failure
        assert torch.equal(y, x[x.long()])


def test_an_assertion_in_a_loop_ends_it() -> None:
    y = torch.zeros(1, dtype=torch.int32)
    with cpu.active():
        with pytest.raises(KernelError, match="three turns at most"):
            scalar_check_kernel[(1,)](y, 5, debug=True)
        assert y.item() == 2
        scalar_check_kernel[(1,)](y, 3, debug=True)


def test_assertions_are_left_out_unless_asked_for() -> None:
    y = torch.zeros(1, dtype=torch.int32)
    with cpu.active():
        scalar_check_kernel[(1,)](y, 5)
    assert y.item() == 4
    kernel = cpu.compile_kernel(scalar_check_kernel, {"Y": "*i32", "n": "i32"}, {})
    assert "tt.assert" not in kernel.ttir


def test_a_compiled_kernel_and_a_plan_raise_too() -> None:
    y = torch.zeros(1, dtype=torch.int32)
    kernel = cpu.compile_kernel(scalar_check_kernel, {"Y": "*i32", "n": "i32"}, {}, debug=True)
    with pytest.raises(KernelError, match="three turns"):
        kernel.launch((1,), (y, 5))
    plan = cpu.NativePlan([(kernel, (1,), (y.data_ptr(), 5))])
    with pytest.raises(KernelError, match="three turns"):
        plan.run()


@triton.jit
def branching_kernel(Y, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    if n == 77:
        return
    total = tl.zeros([BLOCK], tl.int32)
    j = 0
    if n > 2:
        tl.device_assert(i < BLOCK + n - 3, "in one side")
        total += 5
    else:
        tl.device_assert(n > 0, "in the other")
    while j < n:
        tl.device_assert(total < 100, "in a loop")
        total += i
        j += 1
    tl.store(Y + i, total)


@pytest.mark.parametrize(("n", "failure"), [(1, ""), (4, ""), (77, ""), (0, "in the other"), (50, "in a loop")])
def test_assertions_stand_in_branches_and_loops(n: int, failure: str) -> None:
    y = torch.zeros(16, dtype=torch.int32)
    with cpu.active():
        if failure:
            with pytest.raises(KernelError, match=failure):
                branching_kernel[(1,)](y, n, BLOCK=16, debug=True)
        else:
            branching_kernel[(1,)](y, n, BLOCK=16, debug=True)
    expected = torch.zeros(16) if failure or n == 77 else torch.arange(16) * n + (5 if n > 2 else 0)
    assert y.tolist() == expected.tolist()


@triton.jit
def guarded_kernel(Y, X, limit, far, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    total, product = tl.zeros([BLOCK], tl.float32), tl.full([BLOCK], 1.0, tl.float32)
    for _ in range(2):
        tl.device_assert(far < limit, "out of bounds")
        x = tl.load(X + far.to(tl.int64) * 1048576 + i)
        total += x
        product *= x
    tl.store(Y + i, total)
    tl.store(Y + BLOCK + i, product)


def test_an_assertion_in_a_loop_guards_loads_that_every_turn_repeats() -> None:
    x, y = torch.randn(16), torch.zeros(32)
    far = 2**26  # no such address: reading it would end the process
    with cpu.active():
        with pytest.raises(KernelError, match="out of bounds"):
            guarded_kernel[(1,)](y, x, 4, far, BLOCK=16, debug=True)
        guarded_kernel[(1,)](y, x, 4, 0, BLOCK=16, debug=True)
    assert torch.equal(y, torch.cat([x * 2, x * x]))
    kinds = {"Y": "*fp32", "X": "*fp32", "limit": "i32", "far": "i32"}
    text = lower(cpu.compile_kernel(guarded_kernel, kinds, {"BLOCK": 16}, debug=True).ttir, lanes=16)
    address = re.search(r"(%v\d+) = getelementptr float, ptr %arg1", text)
    assert address is not None
    load = re.search(rf"load <\d+ x float>, ptr {address[1]}\b", text)
    assert load is not None
    assert (
        text.index("call void @tritoncnn_assert") < load.start()
    )  # LLVM may move it back, our code must not rely on that


@triton.jit(noinline=True)
def half(n):
    tl.device_assert(n % 2 == 0, "odd")
    if n > 100:
        return 50
    return n // 2


@triton.jit
def halving_kernel(Y, n):
    tl.store(Y, half(n))


def test_an_assertion_may_stand_in_a_function_that_returns_early() -> None:
    y = torch.zeros(1, dtype=torch.int32)
    with cpu.active():
        halving_kernel[(1,)](y, 12, debug=True)
        assert y.item() == 6
        with pytest.raises(KernelError, match="^halving_kernel: device_assert failed at .* odd$"):
            halving_kernel[(1,)](y, 13, debug=True)
