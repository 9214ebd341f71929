"""Ops that move elements about: every one against torch, on shapes with ones and on several types."""

from __future__ import annotations

import math

import pytest
import torch
import triton
import triton.language as tl

from tests.cpu.harness import function, of_tile, run

DTYPES = [torch.float32, torch.int32, torch.int8, torch.float16, torch.bfloat16, torch.int64]
FLOATS = (torch.float16, torch.bfloat16, torch.float32)


def sample(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Different elements where the type has room for them, in no order."""
    n = math.prod(shape)
    start = -(n // 2) if n <= 256 else 0
    return (torch.randperm(n) + start).to(dtype).view(shape)


def assert_same(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0.0, atol=0.0, equal_nan=True)


# ---- shapes ----------------------------------------------------------------------------------------------------------
@triton.jit
def load3(p, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr):
    a, b, c = tl.arange(0, A), tl.arange(0, B), tl.arange(0, C)
    return tl.load(p + a[:, None, None] * (B * C) + b[None, :, None] * C + c[None, None, :])


@triton.jit
def store_flat(p, x, N: tl.constexpr):
    tl.store(p + tl.arange(0, N), tl.reshape(x, (N,)))


@triton.jit
def permuted(x_ptr, y_ptr, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, P: tl.constexpr, PLUS: tl.constexpr):
    x = tl.permute(load3(x_ptr, A, B, C), P[0], P[1], P[2])
    if PLUS:
        x = x + tl.permute(load3(x_ptr, A, B, C) * 2, P[0], P[1], P[2])
    store_flat(y_ptr, x, A * B * C)


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
@pytest.mark.parametrize("shape", [(2, 4, 8), (16, 1, 32), (1, 64, 2), (4, 16, 16)])
@pytest.mark.parametrize("plus", [False, True])
def test_permute_puts_axes_in_any_order(shape: tuple[int, ...], order: tuple[int, ...], plus: bool) -> None:
    x = torch.randn(shape)
    y = torch.empty(x.numel())
    run(permuted, (1,), {"x_ptr": x, "y_ptr": y}, A=shape[0], B=shape[1], C=shape[2], P=order, PLUS=plus)
    assert_same(y, (x.permute(order) * (3 if plus else 1)).reshape(-1))


@triton.jit
def reshaped(x_ptr, y_ptr, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, S: tl.constexpr, N: tl.constexpr):
    x = load3(x_ptr, A, B, C)
    y = tl.reshape(x + 1, S)
    store_flat(y_ptr, tl.trans(y), N)


@pytest.mark.parametrize("shape", [(2, 4, 8), (16, 1, 32), (1, 64, 2), (8, 8, 1)])
@pytest.mark.parametrize("into", ["a row", "a column", "two", "square", "halves"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_reshape_keeps_the_order_of_elements(shape: tuple[int, ...], into: str, dtype: torch.dtype) -> None:
    n = math.prod(shape)
    root = 1 << (n.bit_length() - 1) // 2
    target = {
        "a row": (1, n),
        "a column": (n, 1),
        "two": (2, n // 2),
        "square": (root, n // root),
        "halves": (n // 2, 2),
    }[into]
    x = sample(shape, dtype)
    y = torch.empty(n, dtype=dtype)
    run(reshaped, (1,), {"x_ptr": x, "y_ptr": y}, A=shape[0], B=shape[1], C=shape[2], S=target, N=n)
    assert_same(y, (x + 1).reshape(target).T.reshape(-1))


# ---- joining and splitting -------------------------------------------------------------------------------------------
@triton.jit
def cross(x, y, A: tl.constexpr, B: tl.constexpr):
    a, b = tl.split(tl.reshape(x, (A, B // 2, 2)))
    c, d = tl.split(tl.reshape(y, (A, B // 2, 2)))
    return tl.join(a - d, b + c)


@triton.jit
def swap(x, y):
    a, b = tl.split(tl.join(x, y))
    return tl.join(b, a)


@triton.jit
def pairs(x_ptr, y_ptr, z_ptr, A: tl.constexpr, B: tl.constexpr, F: tl.constexpr):
    at = tl.arange(0, A)[:, None] * B + tl.arange(0, B)[None, :]
    z = F(tl.load(x_ptr + at), tl.load(y_ptr + at), A, B)
    store_flat(z_ptr, z, z.numel)


PAIRS = {
    "tl.join(x, y)": lambda x, y: torch.stack([x, y], -1),
    "tl.interleave(x, y)": lambda x, y: torch.stack([x, y], -1),
    "cross(x, y, A, B)": lambda x, y: torch.stack([x[:, ::2] - y[:, 1::2], x[:, 1::2] + y[:, ::2]], -1),
    "tl.join(tl.join(x, y), tl.join(y, x))": lambda x, y: torch.stack(
        [torch.stack([x, y], -1), torch.stack([y, x], -1)], -1
    ),
    "swap(x, y)": lambda x, y: torch.stack([y, x], -1),
    "tl.cat(tl.reshape(x, (A * B,)), tl.reshape(y, (A * B,)), can_reorder=True)": lambda x, y: torch.cat([x, y]),
}


@pytest.mark.parametrize("text", list(PAIRS))
@pytest.mark.parametrize("shape", [(4, 8), (1, 2), (16, 32), (2, 128)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int8, torch.bfloat16])
def test_tensors_are_joined_and_split(text: str, shape: tuple[int, int], dtype: torch.dtype) -> None:
    x, y = (torch.randint(-50, 50, shape).to(dtype) for _ in range(2))
    wanted = PAIRS[text](x, y).reshape(-1)
    z = torch.empty_like(wanted)
    joined = function("x, y, A: tl.constexpr, B: tl.constexpr", text, cross=cross, swap=swap)
    run(pairs, (1,), {"x_ptr": x, "y_ptr": y, "z_ptr": z}, A=shape[0], B=shape[1], F=joined)
    assert_same(z, wanted)


# ---- order -----------------------------------------------------------------------------------------------------------
def total(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in FLOATS else torch.int64


ORDERS = {
    "tl.sort(x)": lambda x: x.sort(1).values,
    "tl.sort(x, descending=True)": lambda x: x.sort(1, descending=True).values,
    "tl.topk(x, 2)": lambda x: x.sort(1, descending=True).values[:, :2],
    "tl.flip(x, 1)": lambda x: x.flip(1),
    "tl.flip(x, 0)": lambda x: x.flip(0),
    "tl.cumsum(tl.sort(x), 1)": lambda x: x.sort(1).values.cumsum(1, dtype=total(x.dtype)),
}


@pytest.mark.parametrize("text", list(ORDERS))
@pytest.mark.parametrize(("shape", "dtype"), [((8, 4), dtype) for dtype in DTYPES] + [((2, 32), torch.int32)])
def test_rows_are_sorted_chosen_from_and_turned_round(text: str, shape: tuple[int, int], dtype: torch.dtype) -> None:
    x = (sample(shape, torch.int64) % 97).to(dtype)
    wanted = ORDERS[text](x).to(dtype)
    y = of_tile(text, x, torch.empty(wanted.shape, dtype=dtype))
    tolerance = {torch.float16: 2**-8, torch.bfloat16: 2**-4}.get(dtype, 0.0) if "cumsum" in text else 0.0
    torch.testing.assert_close(y, wanted, rtol=tolerance, atol=tolerance)


# ---- by index --------------------------------------------------------------------------------------------------------
@triton.jit
def gathered(
    x_ptr, i_ptr, y_ptr, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, D: tl.constexpr, AXIS: tl.constexpr
):
    x = tl.load(x_ptr + tl.arange(0, A)[:, None] * B + tl.arange(0, B)[None, :])
    i = tl.load(i_ptr + tl.arange(0, C)[:, None] * D + tl.arange(0, D)[None, :])
    store_flat(y_ptr, tl.gather(x * 2, i, AXIS), C * D)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("index", [torch.int32, torch.int64, torch.int8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int8])
def test_gather_picks_along_an_axis(axis: int, index: torch.dtype, dtype: torch.dtype) -> None:
    x = sample((8, 16), dtype) // 4
    shape = (4, 16) if axis == 0 else (8, 32)
    i = torch.randint(0, x.shape[axis], shape).to(index)
    y = torch.empty(i.numel(), dtype=dtype)
    run(gathered, (1,), {"x_ptr": x, "i_ptr": i, "y_ptr": y}, A=8, B=16, C=shape[0], D=shape[1], AXIS=axis)
    assert_same(y, torch.gather(x * 2, axis, i.long()).reshape(-1))


@triton.jit
def counted(x_ptr, y_ptr, n, N: tl.constexpr, BINS: tl.constexpr, MASKED: tl.constexpr):
    at = tl.arange(0, N)
    x = tl.load(x_ptr + at)
    h = tl.histogram(x, BINS, mask=at < n) if MASKED else tl.histogram(x, BINS)
    tl.store(y_ptr + tl.arange(0, BINS), tl.cumsum(h, 0))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8])
def test_histogram_counts_what_is_not_masked(masked: bool, dtype: torch.dtype) -> None:
    if triton.__version__ >= "3.9" and dtype != torch.int32:
        pytest.skip("triton 3.9's histogram takes 32-bit integers only")
    x, y = torch.randint(0, 16, (256,)).to(dtype), torch.empty(16, dtype=torch.int32)
    run(counted, (1,), {"x_ptr": x, "y_ptr": y, "n": 77}, N=256, BINS=16, MASKED=masked)
    counts = torch.bincount(x[: 77 if masked else 256].long(), minlength=16)
    assert_same(y, counts.cumsum(0).int())


# ---- scans -----------------------------------------------------------------------------------------------------------
@triton.jit
def larger(a, b):
    return tl.maximum(a, b)


@triton.jit
def scanned(
    x_ptr,
    y_ptr,
    A: tl.constexpr,
    B: tl.constexpr,
    C: tl.constexpr,
    AXIS: tl.constexpr,
    DOWN: tl.constexpr,
    MODE: tl.constexpr,
):
    x = load3(x_ptr, A, B, C)
    if MODE == "of a transpose":
        x = tl.permute(x, (2, 0, 1))
    elif MODE == "of a reshape":
        x = tl.reshape(x, (C, B, A))
    elif MODE == "of a broadcast":
        x = x + tl.zeros((A, B, C), x.dtype) + tl.arange(0, B)[None, :, None]
    y = tl.associative_scan(x, AXIS, larger, reverse=DOWN)
    if MODE == "read twice":
        y = y + tl.flip(y, AXIS)
    store_flat(y_ptr, y, A * B * C)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("mode", ["plain", "of a transpose", "of a reshape", "of a broadcast", "read twice"])
def test_scans_run_along_any_axis_of_rearranged_tensors(axis: int, down: bool, mode: str) -> None:
    A, B, C = 2, 16, 8
    x = sample((A, B, C), torch.int32)
    t = {"of a transpose": x.permute(2, 0, 1), "of a reshape": x.reshape(C, B, A),
         "of a broadcast": x + torch.arange(B)[None, :, None]}.get(mode, x)  # fmt: skip
    wanted = t.flip(axis).cummax(axis).values.flip(axis) if down else t.cummax(axis).values
    wanted = wanted + wanted.flip(axis) if mode == "read twice" else wanted
    y = torch.empty(x.numel(), dtype=torch.int32)
    run(scanned, (1,), {"x_ptr": x, "y_ptr": y}, A=A, B=B, C=C, AXIS=axis, DOWN=down, MODE=mode)
    assert_same(y, wanted.reshape(-1).int())
