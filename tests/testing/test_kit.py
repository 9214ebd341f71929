"""What the kit itself promises: faults with a name, laws, adjoints, right references, small failures."""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import re
import struct
import subprocess
import sys
import time
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.cases import examples
from tests.testing import planted
from tritoncnn.cpu.run import engine
from tritoncnn.errors import InputError, KernelBug
from tritoncnn.ir import TensorType
from tritoncnn.testing import (
    UNIT,
    Norm,
    Pointwise,
    Pool,
    Resize,
    arena,
    check_adjoint,
    check_kernel,
    convs,
    differences,
    error_bound,
    layouts,
    norms,
    pointwises,
    pools,
    resizes,
)

small = st.just(Pointwise((TensorType.dense("f32", (3,)),), (TensorType.dense("f32", (3,)),)))
pictures = pools("avg", any_layout=False)
check = functools.partial(check_kernel, max_examples=40, shrink=False)


def found(kernel: Any, reference: Any = lambda a, p: a, problems: Any = small, **options: Any) -> str:
    with pytest.raises(KernelBug) as bug:
        check(kernel, reference, problems, **options)
    return str(bug.value)


# ---- what kills a process --------------------------------------------------------------------------------------------
def touch(tensor: torch.Tensor, bytes: int, write: bool) -> None:
    address = tensor.data_ptr() + bytes
    ctypes.memset(address, 1, 1) if write else ctypes.string_at(address, 1)


def spoken(says: str) -> str:
    """What a report says where the system does not tell a read from a write."""
    return says if arena.tells_reads_from_writes() else re.sub(r"\ba (read|write)\b", "an access", says)


@pytest.mark.parametrize(
    ("bytes", "write", "says"),
    [
        (12, False, "a read 0 bytes behind the end of a"),
        (12, True, "a write 0 bytes behind the end of a"),
        (-1, False, "a read 1 bytes before the start of a"),
        (-4, True, "bytes before the start of a"),
        (17, True, "a write 5 bytes behind the end of a"),
        (2 << 30, True, "did an offset pass 2**31?"),
    ],
)
def test_an_access_outside_a_tensor_is_named(bytes: int, write: bool, says: str) -> None:
    def kernel(y: Any, a: Any, problem: Any) -> None:
        y.copy_(a)
        touch(a, bytes, write)

    assert spoken(says) in found(kernel)


def test_the_syndrome_register_of_64_bit_arms_says_read_or_write() -> None:
    """Linux's records in a signal's context: another one first, then the register's, then the end."""
    native = arena.handler("aarch64", 0)
    code = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_char_p)(native.get_function_address("code"))
    other, syndrome, end = struct.pack("<2I8x", 0x46508001, 16), 0x45535201, bytes(16)
    for esr, expected in ((1 << 6 | 0x9200000F, 2), (0x9200000F, 0)):
        assert code(bytes(464) + other + struct.pack("<2IQ", syndrome, 16, esr) + end) == expected
    assert code(bytes(464) + other + end) == -1


def test_a_write_into_the_gaps_of_a_tensor_is_found() -> None:
    def kernel(y: Any, a: Any, problem: Any) -> None:
        y.as_strided((5,), (1,)).fill_(1.0)
        y.copy_(a)

    gappy = Pointwise((TensorType.dense("f32", (3,)),), (TensorType("f32", (3,), (2,)),))
    assert "wrote in a gap, 4 bytes behind the start, of y" in found(kernel, problems=st.just(gappy))


def test_a_kernel_that_ends_its_process_raises_or_hangs_fails_alone() -> None:
    def dies(y: Any, a: Any, problem: Any) -> None:
        os.abort()

    def leaves(y: Any, a: Any, problem: Any) -> None:
        os._exit(7)

    def raises(y: Any, a: Any, problem: Any) -> None:
        raise ValueError("no such tile")

    def hangs(y: Any, a: Any, problem: Any) -> None:
        time.sleep(60)

    assert "dies: its process was ended by SIGABRT" in found(dies)
    assert "leaves: its process ended with code 7" in found(leaves)
    assert "ValueError: no such tile" in found(raises)
    assert "hangs did not end within 0.5 s" in found(hangs, timeout=0.5)


def test_results_that_differ_from_run_to_run_are_found_unless_allowed() -> None:
    calls = itertools.count()

    def kernel(y: Any, a: Any, problem: Any) -> None:
        y.copy_(a * (1 + 2.0**-23 * (next(calls) % 2)))

    assert "kernel is not deterministic" in found(kernel)
    check(kernel, lambda a, p: a, small, deterministic=False)


@triton.jit
def _sum_rows(y, x, N, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    row = tl.load(x + tl.program_id(0) * N + i, mask=i < N)
    tl.store(y + i, tl.load(y + i, mask=i < N) + row, mask=i < N)


@triton.jit
def _add_rows(y, x, N, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.atomic_add(y + i, tl.load(x + tl.program_id(0) * N + i, mask=i < N), mask=i < N)


def test_programs_that_add_to_one_place_are_found_before_threads_meet_there() -> None:
    def summed(kernel: Any) -> Any:
        def column_sum(y: Any, x: Any, problem: Any) -> None:
            y.zero_()
            kernel[(len(x),)](y, x, x.shape[1], BLOCK=4)

        return column_sum

    types = TensorType.dense("f32", (4, 3)), TensorType.dense("f32", (3,))
    options: dict[str, Any] = {"problems": st.just(Pointwise(types[:1], types[1:])), "threads": 1, "exact": True}
    says = found(summed(_sum_rows), lambda x, p: x.sum(0), **options)
    assert re.search(
        r"column_sum: _sum_rows: race: program \(0, 0, 0\) \(store at .*test_kit.py:\d+\) and program", says
    )
    check(summed(_sum_rows), lambda x, p: x.sum(0), **options, deterministic=False)
    check(summed(_add_rows), lambda x, p: x.sum(0), **options)  # whole numbers: their order does not show


@triton.jit
def _unmasked(y, a, N, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    square = tl.where(i[:, None] < N, tl.load(a + i[:, None] + i[None, :] * 0), 0.0)
    tl.store(y + i, tl.max(square, 1), mask=i < N)


def test_a_read_that_the_compiled_code_leaves_out_is_found() -> None:
    def kernel(y: Any, a: Any, problem: Any) -> None:
        _unmasked[(1,)](y, a, 3, BLOCK=4)

    assert re.search(
        r"_unmasked: load out of bounds at .*test_kit.py:\d+ in .*: index 3 of a, which has", found(kernel)
    )


def test_the_child_has_threads_of_its_own_after_the_parents_were_used() -> None:
    torch.set_num_threads(2)
    torch.randn(500, 500) @ torch.randn(500, 500)  # the parent's pool exists now, and will not in the child
    seen = set()

    def kernel(y: Any, a: Any, problem: Any) -> None:
        seen.add(engine.threads())
        if torch.get_num_threads() == 3 and seen != {1, 3}:
            raise ValueError(f"runs on {seen} threads")
        y.copy_(a)

    check(kernel, lambda a, p: a, small, threads=3)
    assert seen == set()  # it did not run here


# ---- laws ------------------------------------------------------------------------------------------------------------
def columns_off(x: torch.Tensor) -> torch.Tensor:
    """x times 1, 2, 3... by column."""
    return x * torch.arange(1, x.shape[-1] + 1, dtype=x.dtype)


@pytest.mark.parametrize(
    ("law", "change"),
    [
        ("additive", lambda y: y + 1),
        ("homogeneous", lambda y: y + 1),
        ("batch split", lambda y: y.flip(0)),
        ("channel permutation", lambda y: y * torch.arange(1, y.shape[1] + 1, dtype=y.dtype).reshape(-1, 1, 1)),
        ("shift", columns_off),
    ],
)
def test_a_broken_law_is_found_where_the_reference_has_the_same_fault(law: str, change: Any) -> None:
    def kernel(y: Any, x: Any, problem: Any) -> None:
        y.copy_(change(problem.reference(x.double())))

    def reference(x: torch.Tensor, problem: Any) -> torch.Tensor:
        return change(problem.reference(x))

    options = {"magnitude": lambda x, p: 10 * (change(p.reference(x.abs())) + 1)}
    check(kernel, reference, pictures, **options)
    assert "kernel breaks a law: " in found(kernel, reference, pictures, laws=[law], max_examples=300, **options)


def test_a_law_of_ones_own() -> None:
    def even(apply: Any, problem: Any) -> str | None:
        (a,) = problem.fill()
        (y,) = apply(problem, a)
        return None if torch.equal(y, apply(problem, -a)[0]) else "f(-a) is not f(a)"

    square = lambda y, a, p: y.copy_(a * a)  # noqa: E731
    check(square, lambda a, p: a * a, small, laws=[even])
    assert "f(-a) is not f(a)" in found(planted.double(""), lambda a, p: 2 * a, laws=[even])
    with pytest.raises(InputError, match="laws must be of additive, .*; got 'odd'"):
        check(square, None, small, laws=["odd"])


dense = {"any_layout": False, "grouped": False, "dilated": False, "max_size": 6, "max_channels": 3}


@pytest.mark.parametrize(("wrt", "backward"), [(0, planted.conv_input_grad), (1, planted.conv_filter_grad)])
def test_a_gradient_is_the_adjoint_of_the_convolution(wrt: int, backward: Any) -> None:
    check_adjoint(planted.conv(""), backward(""), convs(**dense), wrt, max_examples=20)


@pytest.mark.parametrize(
    ("wrt", "backward", "bug"),
    [
        (0, planted.conv_input_grad, "sign of the gradient"),
        (0, planted.conv_input_grad, "filter not turned"),
        (1, planted.conv_filter_grad, "first picture only"),
    ],
)
def test_a_gradient_that_is_no_adjoint_is_found_without_a_reference(wrt: int, backward: Any, bug: str) -> None:
    with pytest.raises(KernelBug, match="is not the adjoint of"):
        check_adjoint(planted.conv(""), backward(bug), convs(**dense), wrt, max_examples=100, shrink=False)


# ---- right answers ---------------------------------------------------------------------------------------------------
@examples(50)
@given(norms(any_layout=False))
def test_norms_mean_what_torch_means(problem: Norm) -> None:
    x, w, b = problem.fill()
    if problem.kind == "layer":
        wanted = F.layer_norm(x, x.shape[-1:], w, b, problem.eps)
    elif problem.kind == "batch":
        if x.shape[0] * x.shape[2] == 1:  # torch refuses
            return
        wanted = F.batch_norm(x, None, None, w, b, True, 0.0, problem.eps)
    else:
        groups = x.shape[1] if problem.kind == "instance" else problem.groups
        if x.shape[2] * x.shape[1] // groups * len(x) <= 1:
            return
        wanted = F.group_norm(x, groups, w, b, problem.eps)
    torch.testing.assert_close(problem.reference(x, w, b), wanted, equal_nan=True, rtol=1e-9, atol=1e-9)


@examples(50)
@given(resizes("nearest", any_layout=False))
def test_resizes_mean_what_torch_means(problem: Resize) -> None:
    (x,) = problem.fill()
    if x.numel():
        wanted = F.interpolate(x, problem.outputs[0].shape[2:], mode="nearest")
        torch.testing.assert_close(problem.reference(x), wanted, rtol=0, atol=0, equal_nan=True)


@examples(60)
@given(st.integers(1, 300), st.sampled_from((torch.float32, torch.bfloat16, torch.float16)), st.integers(0, 99))
def test_the_bound_holds_in_f32_and_not_in_bf16(n: int, dtype: torch.dtype, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(n, 64, generator=generator).to(dtype) for _ in range(2))
    exact, size = (a.double() * b.double()).sum(0), (a.double() * b.double()).abs().sum(0)
    bound = error_bound(exact, size, n, dtype)
    acc = torch.zeros(64)
    narrow = torch.zeros(64, dtype=torch.bfloat16)
    for i in range(n):
        acc += a[i].float() * b[i].float()
        narrow += (a[i].float() * b[i].float()).bfloat16()
    assert not bool(differences(acc.to(dtype), exact, bound).any())
    if n > 30:
        assert bool(differences(narrow.to(dtype), exact, bound).any())


def test_differences_meet_special_values_as_torch_does() -> None:
    inf, nan = float("inf"), float("nan")
    wanted = torch.tensor([nan, inf, -inf, 1.0, nan, inf, 1.0, 0.0], dtype=torch.float64)
    y = torch.tensor([nan, inf, -inf, 1.0 + 2 * UNIT, 0.0, -inf, nan, -0.0])
    wide = torch.full((8,), 1e-6, dtype=torch.float64)
    assert differences(y, wanted, wide).tolist() == [False, False, False, False, True, True, True, False]
    assert differences(y, wanted, None).tolist() == [False, False, False, True, True, True, True, False]


# ---- problems --------------------------------------------------------------------------------------------------------
def drawn(strategy: Any, count: int = 200) -> list[Any]:
    seen: list[Any] = []
    examples(count)(given(strategy)(lambda made: seen.append(made)))()
    return seen


def test_layouts_are_of_every_kind() -> None:
    types = drawn(layouts((2, 3, 4, 5), (0, 2, 3, 1), expand=True))
    assert any(t.is_row_major for t in types)
    assert any(t.order == (0, 2, 3, 1) for t in types)
    assert any(t.order is None and 0 not in t.strides and 1 not in t.strides for t in types)  # a slice with a step
    assert any(0 in t.strides for t in types)
    assert not any(0 in t.strides for t in drawn(layouts((2, 3, 4, 5))))


@pytest.mark.parametrize("problems", [convs(), pools(), norms(), resizes(), pointwises(2)], ids=repr)
def test_problems_have_every_dtype_data_and_odd_size(problems: Any) -> None:
    seen = drawn(problems)
    assert {p.inputs[0].dtype for p in seen} == {"f32", "bf16", "f16"}
    assert {p.values for p in seen} == {"integers", "floats", "special"}
    assert any(p.inputs[0].numel == 0 for p in seen)
    assert any(1 in p.inputs[0].shape for p in seen)
    assert not any(0 in t.strides and t.numel > max(t.shape, default=1) for p in seen for t in p.outputs if t.numel)
    for p in seen[:50]:
        assert tuple(p.reference(*p.fill()).shape) == p.outputs[0].shape if not isinstance(p, Pointwise) else True


def test_an_output_that_overlaps_itself_is_refused() -> None:
    problem = Pointwise((TensorType.dense("f32", (3,)),), (TensorType("f32", (3,), (0,)),))
    with pytest.raises(InputError, match="an output may not have stride 0"):
        check(planted.double(""), lambda a, p: 2 * a, st.just(problem))


def test_a_failure_shrinks_to_a_small_case_that_reads_well() -> None:
    with pytest.raises(KernelBug) as bug:
        check_kernel(planted.pool("wrong dilation"), None, pools("max"), max_examples=100)
    (line,) = [line for line in str(bug.value).splitlines() if line.startswith("  for ")]
    assert re.match(r"  for Pool\(x=f32\[1,\d,\d,\d\], y=f32\[1,\d,1,1\], ", line)
    assert "dilation=" in line
    assert len(line) < 140


def test_a_problem_reads_as_it_was_made() -> None:
    problem = Pool.of("bf16", (1, 2, 5, 5), window=(3, 3), values="floats")
    assert repr(problem) == "Pool(x=bf16[1,2,5,5], y=bf16[1,2,2,2], values='floats', window=(3, 3))"


def test_without_hypothesis_one_sentence_says_what_to_install() -> None:
    code = (
        "import sys\nsys.modules['hypothesis'] = None\nimport tritoncnn.testing as t\nt.Conv, t.error_bound\n"
        "try:\n    t.check_kernel\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        "tritoncnn.testing.check_kernel needs hypothesis; install it with: pip install 'tritoncnn[testing]'"
    )
