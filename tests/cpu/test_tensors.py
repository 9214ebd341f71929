"""Tensors and grids as users have them: views, odd addresses, empty ones, huge ones, hints, three axes of programs."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from tests.cpu.harness import run, ttir
from tritoncnn import cpu
from tritoncnn.cpu.lower import lower


def assert_same(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0.0, atol=0.0)


@triton.jit
def twice(x_ptr, y_ptr, n, B: tl.constexpr):
    at = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(y_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8, torch.bfloat16, torch.float64, torch.float16, torch.bool])
def test_tensors_may_begin_anywhere(dtype: torch.dtype) -> None:
    x = torch.randint(-60, 60, (300,)).to(dtype)
    double = (lambda t: t) if dtype == torch.bool else (lambda t: t * 2)
    with cpu.active():
        for start, end in (
            (0, 0),
            (1, 0),
            (0, 3),
            (5, 7),
            (2, 9),
        ):  # aligned first: that kernel must not be taken again
            y = torch.zeros(400, dtype=dtype)
            twice[(3,)](x[start:], y[end:], 260, B=128)
            assert_same(y[end : end + 260], double(x[start : start + 260]))
            assert not y[:end].any()
            assert not y[end + 260 :].any()


@triton.jit
def strided(x_ptr, y_ptr, M, N, sm, sn, tm, tn, BM: tl.constexpr, BN: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)[:, None]
    n = tl.program_id(1) * BN + tl.arange(0, BN)[None, :]
    mask = (m < M) & (n < N)
    tl.store(y_ptr + m * tm + n * tn, tl.load(x_ptr + m * sm + n * sn, mask=mask, other=0), mask=mask)


VIEWS = {
    "whole": lambda x: x, "transposed": lambda x: x.T, "every second": lambda x: x[::2, ::3],
    "a part": lambda x: x[3:40, 5:50], "a column": lambda x: x[:, 7:8], "expanded": lambda x: x[:1].expand(33, -1),
}  # fmt: skip


@pytest.mark.parametrize("source", VIEWS)
@pytest.mark.parametrize("target", ["whole", "transposed", "every second"])
def test_views_are_read_and_written_by_their_strides(source: str, target: str) -> None:
    x = VIEWS[source](torch.randn(48, 64))
    M, N = x.shape
    y = VIEWS[target](torch.zeros(200, 200))[:M, :N]
    with cpu.active():
        grid = (triton.cdiv(M, 16), triton.cdiv(N, 32))
        strided[grid](x, y, M, N, *x.stride(), *y.stride(), BM=16, BN=32)
    assert_same(y, x)


@triton.jit
def where_am_i(y_ptr):
    x, y, z = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    nx, ny, nz = tl.num_programs(0), tl.num_programs(1), tl.num_programs(2)
    tl.store(y_ptr + (z * ny + y) * nx + x, x + 100 * y + 10000 * z + 1000000 * (nx + ny + nz))


@pytest.mark.parametrize("grid", [(5,), (3, 4), (2, 3, 4), (1, 1, 7), (1, 6, 1)])
def test_programs_know_their_place_and_the_grid(grid: tuple[int, ...]) -> None:
    X, Y, Z = (*grid, 1, 1)[:3]
    y = torch.zeros(Z, Y, X, dtype=torch.int32)
    with cpu.active():
        where_am_i[grid](y)
    z, j, i = torch.meshgrid(torch.arange(Z), torch.arange(Y), torch.arange(X), indexing="ij")
    assert_same(y, (i + 100 * j + 10000 * z + 1000000 * (X + Y + Z)).int())


@pytest.mark.parametrize("grid", [(0,), (3, 0), (2, 0, 2), (0, 0, 0)])
def test_a_grid_without_programs_does_nothing(grid: tuple[int, ...]) -> None:
    y = torch.zeros(64, dtype=torch.int32)
    with cpu.active():
        where_am_i[grid](y)
    assert not y.any()


def test_tensors_without_elements_are_passed_on() -> None:
    x, y = torch.empty(0), torch.ones(4)
    with cpu.active():
        twice[(1,)](x, y, 0, B=16)
        twice[(1,)](torch.empty(0, 7).T, y, 0, B=16)
    assert_same(y, torch.ones(4))


@triton.jit
def far(x_ptr, start, B: tl.constexpr, WAY: tl.constexpr):
    at = tl.arange(0, B)
    if WAY == "64-bit indices":
        p = x_ptr + (tl.full((B,), start, tl.int64) + at)
    elif WAY == "64-bit strides":
        p = x_ptr + (at[:, None] // B).to(tl.int64) + start + at[:, None]
    else:
        p = x_ptr + at
        for _ in range(4):
            p += start // 4
        p += start % 4
    tl.store(p, tl.load(p) + 1)


@pytest.mark.parametrize("way", ["64-bit indices", "64-bit strides", "moving pointers"])
def test_offsets_past_two_billion_elements_reach_their_elements(way: str) -> None:
    start = 2**31 + 1001
    x = torch.empty(start + 64, dtype=torch.int8)  # its pages are touched where they are written only
    x[start:] = torch.arange(64, dtype=torch.int8)
    x[:64] = 5
    with cpu.active():
        far[(1,)](x, start, B=32, WAY=way)
    assert x[start:].tolist() == [*range(1, 33), *range(32, 64)]
    assert x[:64].tolist() == [5] * 64


@triton.jit
def hinted(x_ptr, y_ptr, n, B: tl.constexpr):
    at = tl.max_contiguous(tl.multiple_of(tl.program_id(0) * B, B) + tl.arange(0, B), B)
    x = tl.load(x_ptr + at, mask=at < n, cache_modifier=".cg", eviction_policy="evict_first", volatile=True)
    y = tl.load(y_ptr + at, mask=at < n, cache_modifier=".ca", eviction_policy="evict_last")
    tl.store(y_ptr + at, x + y, mask=at < n, cache_modifier=".wb", eviction_policy="evict_first")
    tl.store(x_ptr + at, y, mask=at < n, cache_modifier=".cs")
    tl.debug_barrier()


def test_hints_on_loads_and_stores_change_nothing() -> None:
    x, y = torch.randn(100), torch.randn(100)
    a, b = x.clone(), y.clone()
    with cpu.active():
        hinted[(2,)](a, b, 100, B=64)
    assert_same(a, y)
    assert_same(b, x + y)


@triton.jit
def narrow(x_ptr, y_ptr, z_ptr, n, B: tl.constexpr, STRIDE: tl.constexpr):
    at = tl.arange(0, B)
    x = tl.load(x_ptr + at * STRIDE, mask=at < n, other=1.0).to(tl.float32)
    tl.store(y_ptr + at * STRIDE, x / 3, mask=at < n)
    tl.store(z_ptr + at, (x * 3).to(z_ptr.dtype.element_ty))


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("n", [0, 1, 31, 64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_floats_are_loaded_and_stored_under_masks(dtype: torch.dtype, n: int, stride: int) -> None:
    x = torch.randn(64 * stride).to(dtype)
    y, z = torch.full((64 * stride,), 9, dtype=dtype), torch.empty(64, dtype=dtype)
    with cpu.active():
        narrow[(1,)](x, y, z, n, B=64, STRIDE=stride)
    picked = torch.where(torch.arange(64) < n, x[::stride].float(), 1.0)
    wanted = torch.full((64 * stride,), 9, dtype=dtype)
    wanted[::stride][:n] = (picked / 3).to(dtype)[:n]
    assert_same(y, wanted)
    assert_same(z, (picked * 3).to(dtype))


def test_masked_narrow_floats_move_as_whole_vectors() -> None:
    text = lower(
        ttir(narrow, {"x_ptr": "*bf16", "y_ptr": "*bf16", "z_ptr": "*bf16", "n": "i32"}, {"B": 64, "STRIDE": 1}),
        lanes=16,
    )
    assert "@llvm.masked.load.v16i16.p0" in text
    assert "@llvm.masked.store.v16i16.p0" in text
    assert "masked.load.v16bf16" not in text
    assert "masked.store.v16bf16" not in text


@triton.jit
def one_lane(x_ptr, y_ptr, AT: tl.constexpr, B: tl.constexpr, LOOP: tl.constexpr):
    at = tl.arange(0, B)
    x = (tl.load(x_ptr + at) * 3).to(y_ptr.dtype.element_ty)
    for i in tl.range(LOOP):
        tl.store(y_ptr + at, x, mask=at == AT + 2 * i)


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("turns", [1, 3])
@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.float16, torch.bfloat16, torch.bool])
def test_a_masked_store_of_one_lane_known_beforehand_leaves_the_others_alone(
    dtype: torch.dtype, turns: int, lanes: int
) -> None:
    x, y = torch.ones(16), torch.full((16,), 9).to(dtype)
    wanted = y.clone()
    wanted[1 : 1 + 2 * turns : 2] = 3
    run(one_lane, (1,), {"x_ptr": x, "y_ptr": y}, lanes=lanes, AT=1, B=16, LOOP=turns)
    assert_same(y, wanted)
