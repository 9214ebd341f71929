"""``cpu.explain``: how loads, stores and dots are computed, and why."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from tests.cpu.harness import line
from tritoncnn import cpu
from tritoncnn.cpu.facts.remarks import Product
from tritoncnn.cpu.run import engine
from tritoncnn.errors import InputError
from tritoncnn.functional import conv1d


@triton.jit
def accesses_kernel(y_ptr, x_ptr, i_ptr, n, stride, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offs, mask=offs < n, other=0.0)  # vector
    x += tl.load(x_ptr + 2 * offs)  # strided
    x += tl.load(x_ptr + stride * offs)  # argument
    x += tl.load(x_ptr + offs // 3)  # quotient
    x += tl.load(x_ptr + tl.load(i_ptr + offs))  # index
    x += tl.load(x_ptr + offs // 4096)  # broadcast
    x += tl.load(x_ptr + 7)  # scalar
    tl.store(y_ptr + offs, x, mask=offs < n)  # put
    tl.atomic_add(y_ptr, 1.0)  # atomic


X, I = torch.zeros(64), torch.zeros(64, dtype=torch.int32)


def test_each_load_says_how_it_moves_and_what_was_not_known() -> None:
    said = cpu.explain(accesses_kernel, X, X, I, 50, 30, BLOCK=64)
    found = {(a.where, a.argument): a for a in said.accesses}
    wanted = {
        "vector": ("x_ptr", "vector", "step by 1 element along axis 0"),
        "strided": ("x_ptr", "strided", "step by 2 elements"),
        "argument": ("x_ptr", "gather", "a number that is not known when the kernel is compiled"),
        "quotient": ("x_ptr", "gather", "the quotient of an index by 3"),
        "broadcast": ("x_ptr", "broadcast", "the same in all lanes"),
        "scalar": ("x_ptr", "scalar", "its address is one number"),
        "put": ("y_ptr", "vector", "step by 1"),
        "atomic": ("y_ptr", "scalar", "its address is one number"),
    }
    for mark, (argument, how, why) in wanted.items():
        note = found[line(accesses_kernel, mark), argument]
        assert note.how == how
        assert why in note.why
        assert note.masked == (mark in ("vector", "put"))
    index = line(accesses_kernel, "index")
    assert found[index, "i_ptr"].how == "vector"
    assert found[index, "x_ptr"].why == f"no fixed step along axis 0: the index is loaded from memory ({index})"
    assert (len(said.loads), len(said.stores), len(said.atomics), len(said.slow)) == (8, 1, 1, 4)
    assert f"{index}: load x_ptr: gather" in str(said)


def test_a_kernel_from_the_cache_and_one_that_is_asked_for_say_the_same() -> None:
    types = {"y_ptr": "*fp32", "x_ptr": "*fp32", "i_ptr": "*i32", "n": "i32", "stride": "i32"}

    def compiled() -> cpu.CpuKernel:
        return cpu.compile_kernel(accesses_kernel, types, {"BLOCK": 128})

    first = compiled()
    said = cpu.explain(first)
    del first
    again = compiled()
    assert again.from_cache
    assert cpu.explain(again) == said
    asked = cpu.request(accesses_kernel, types, {"BLOCK": 128})
    assert cpu.explain(asked) == said
    assert len(said.loads) == 8
    for known in (again, asked):
        with pytest.raises(
            InputError, match="explain: accesses_kernel has its arguments' types already; give it alone"
        ):
            cpu.explain(known, X)


@triton.jit
def turned_kernel(y_ptr, x_ptr, B: tl.constexpr):
    r = tl.arange(0, B)
    x = tl.load(x_ptr + r[:, None] + r[None, :] * B)
    y = tl.load(y_ptr + r[:, None] * B + r[None, :])
    tl.store(y_ptr + r[:, None] * B + r[None, :], x + y)


def test_a_load_that_is_contiguous_along_another_axis_is_told_apart() -> None:
    said = cpu.explain(turned_kernel, X, X, B=8)
    assert [(a.argument, a.contiguous) for a in said.slow] == [("x_ptr", 0)]


@triton.jit
def product_kernel(c_ptr, a_ptr, b_ptr, n, K, B: tl.constexpr, D: tl.constexpr):
    r, d = tl.arange(0, B), tl.arange(0, D)
    a_p = a_ptr + r[:, None] * K + d[None, :]
    b_p = b_ptr + d[:, None] * B + r[None, :]
    acc = tl.zeros([B, B], tl.float32)
    for _ in range(0, K, D):
        a = tl.load(a_p, mask=(r < n)[:, None], other=0.0)
        acc = tl.dot(a, tl.load(b_p), acc)  # dot
        a_p += D
        b_p += D * B
    tl.store(c_ptr + r[:, None] * B + r[None, :], acc)


def test_a_dot_says_its_tile_and_how_it_reaches_its_factors() -> None:
    said = cpu.explain(product_kernel, X, X, X, 20, 64, B=32, D=16)
    (dot,) = said.dots
    assert (dot.where, dot.sizes, dot.multiply) == (line(product_kernel, "dot"), (32, 32, 16), "multiply-add of f32")
    assert dot.lanes in (4, 8, 16)
    assert 1 <= dot.tile[0] <= 32
    assert dot.a == "in place: its rows are reached through a table of addresses"
    assert dot.b == "in place: its rows are contiguous and lie at fixed offsets"
    assert [(a.argument, a.how) for a in said.loads] == [("a_ptr", "in place"), ("b_ptr", "in place")]


@triton.jit
def wide_kernel(c_ptr, a_ptr, b_ptr, STEP: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    a = tl.load(a_ptr + m[:, None] * K + k[None, :])
    b = tl.load(b_ptr + k[:, None] * STEP + n[None, :])
    tl.store(c_ptr + m[:, None] * N + n[None, :], tl.dot(a, b, input_precision="ieee"))


def test_rows_far_apart_are_read_once() -> None:
    """Of a B whose rows lie a page apart, a second tile would find little in the cache; of one without gaps, all."""

    def dot(step: int, rows: int) -> Product:
        (found,) = cpu.explain(wide_kernel, X, X, X, STEP=step, M=rows, N=64, K=128).dots
        return found

    rows = next(rows for rows in (4, 8, 16, 32) if rows == 2 * dot(64, rows).tile[0])  # two tiles, on any CPU
    assert dot(64, rows).b.startswith("in place")
    assert dot(1024, rows).b.startswith("packed into panels of")

    a, b = torch.randn(8, 128), torch.randn(128, 1024)
    c = torch.empty(8, 64)
    with cpu.active():
        wide_kernel[(1,)](c, a, b, STEP=1024, M=8, N=64, K=128)  # type: ignore[index]
    wanted = a.double() @ b[:, :64].double()
    assert float((c - wanted).abs().max()) < 128 * 2**-23 * float((a.double().abs() @ b[:, :64].double().abs()).max())


def test_rows_are_asked_for_early_within_the_table_of_their_places() -> None:
    """LLVM takes the loop that asks for rows past the table's end for one that has none: this ended the process."""
    x, w = torch.randn(2, 1024, 64), torch.randn(256, 64, 1, requires_grad=True)
    dy = torch.randn(2, 1024, 256)
    conv1d(x.transpose(1, 2), w, torch.zeros(256, requires_grad=True)).backward(dy.transpose(1, 2))
    assert w.grad is not None
    x, dy = x.double().flatten(0, 1), dy.double().flatten(0, 1)
    wanted, size = dy.t() @ x, dy.abs().t() @ x.abs()
    assert float((w.grad[..., 0] - wanted).abs().max()) < 2048 * 2**-23 * float(size.max())


def test_a_dot_of_bf16_says_whether_it_goes_in_pairs() -> None:
    H = X.bfloat16()
    (even,) = cpu.explain(product_kernel, X, H, H, 20, 64, B=32, D=16).dots
    if "avx512bf16" in engine.host().of_note and engine.host().lanes == 16:
        assert even.multiply == "pairs of bf16 (avx512-bf16)"
        assert even.b.startswith("packed into panels of")
    else:
        assert even.multiply == "multiply-add of f32, widened from bf16 (the CPU has no avx512-bf16)"
    half = X.half()
    (wide,) = cpu.explain(product_kernel, X, half, half, 20, 64, B=32, D=16).dots
    assert wide.multiply == "multiply-add of f32, widened from f16 (words are for bf16 into f32, and i8 into i32)"
    assert wide.a == "from scratch: it is the result of arith.extf, not a load"


@triton.jit
def carried_kernel(y_ptr, x_ptr, w_ptr, n, which, B: tl.constexpr):
    p = x_ptr + tl.arange(0, B)
    q = w_ptr + tl.arange(0, B)
    total = tl.zeros([B], tl.float32)
    for _ in range(n):
        total += tl.load(p) * tl.load(q)
        p += B
        q += B
    chosen = x_ptr
    if which > 0:
        chosen = w_ptr
    tl.store(y_ptr + tl.arange(0, B), total + tl.load(chosen))


def test_arguments_are_found_through_loops_and_branches() -> None:
    said = cpu.explain(carried_kernel, X, X, X, 3, 5, B=16)
    assert sorted(a.argument for a in said.loads) == ["w_ptr", "x_ptr", "x_ptr or w_ptr"]


@pytest.mark.parametrize("other", [len, "add"])
def test_other_things_are_refused(other: object) -> None:
    with pytest.raises(
        InputError, match="wanted a compiled kernel, a request for one or a @triton.jit function; got (builtin|str)"
    ):
        cpu.explain(other)
