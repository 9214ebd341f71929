"""Blocks stored over the memory that they were read from, where an element needs others than its own: all is read first."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import triton
import triton.language as tl

from tests.cpu.harness import run


@triton.jit
def moved(x_ptr, N: tl.constexpr, WAY: tl.constexpr):
    at = tl.arange(0, N)
    p = x_ptr + at[:, None] * N + at[None, :]
    x = tl.load(p)
    if WAY == "transposed":
        tl.store(p, tl.trans(x))
    elif WAY == "transposed and its own":
        tl.store(p, tl.trans(x) + x * 2)
    elif WAY == "mirrored":
        tl.store(p, tl.where(at[:, None] > at[None, :], tl.trans(x), x))
    elif WAY == "mirrored by a mask":
        tl.store(p, tl.trans(x), mask=at[:, None] > at[None, :])
    elif WAY == "again and again":
        for _ in range(3):
            x = tl.load(p)
            tl.store(p, tl.trans(x) - x)
    elif WAY == "flattened":
        flat = x_ptr + tl.arange(0, N * N)
        tl.store(flat, tl.ravel(tl.trans(tl.reshape(tl.load(flat), (N, N)))))
    elif WAY == "in three dimensions":
        flat = x_ptr + tl.arange(0, N * N)
        tl.store(flat, tl.ravel(tl.permute(tl.reshape(tl.load(flat), (2, N // 2, N)), (2, 0, 1))))
    elif WAY == "dealt":
        flat = x_ptr + tl.arange(0, N * N)
        one, other = tl.split(tl.trans(tl.reshape(tl.load(flat), (2, N * N // 2))))
        tl.store(flat, tl.interleave(other, one))
    elif WAY == "picked":
        tl.store(p, tl.gather(x, (at[:, None] * 7 + at[None, :]) % N, 0) + x)
    else:
        half = tl.arange(0, N // 2)
        upper = x_ptr + half[:, None] * N + half[None, :]
        one, other = tl.load(upper), tl.load(upper + N // 2)
        tl.store(upper, tl.trans(other))
        tl.store(upper + N // 2, tl.trans(one))


def again(x: torch.Tensor) -> torch.Tensor:
    for _ in range(3):
        x = x.T - x
    return x


def exchanged(x: torch.Tensor) -> torch.Tensor:
    n = len(x) // 2
    return torch.cat([torch.cat([x[:n, n:].T, x[:n, :n].T], 1), x[n:]])


def picked(x: torch.Tensor) -> torch.Tensor:
    at = torch.arange(len(x))
    return x.gather(0, (at[:, None] * 7 + at[None, :]) % len(x)) + x


WAYS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "transposed": lambda x: x.T,
    "transposed and its own": lambda x: x.T + x * 2,
    "mirrored": lambda x: x.T.tril(-1) + x.triu(),
    "mirrored by a mask": lambda x: x.T.tril(-1) + x.triu(),
    "again and again": again,
    "flattened": lambda x: x.T,
    "in three dimensions": lambda x: x.view(2, -1, len(x)).permute(2, 0, 1),
    "dealt": lambda x: x.reshape(2, -1).flip(0).T,
    "picked": picked,
    "exchanged": exchanged,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int8])
@pytest.mark.parametrize("N", [4, 32])
@pytest.mark.parametrize("way", WAYS)
def test_elements_that_change_places_are_all_read_before_one_is_written(way: str, N: int, dtype: torch.dtype) -> None:
    x = torch.randint(-9, 10, (N, N)).to(dtype)
    wanted = WAYS[way](x.clone()).reshape(N, N)
    run(moved, (1,), {"x_ptr": x}, N=N, WAY=way)
    assert torch.equal(x, wanted)


@triton.jit
def scattered(y_ptr, x_ptr, N: tl.constexpr, WAY: tl.constexpr):
    at = tl.arange(0, N)
    place = tl.load(x_ptr + at)
    if WAY == "inverse":
        tl.store(y_ptr + place, at)
    elif WAY == "square":
        tl.store(y_ptr + at, tl.load(x_ptr + place))
    elif WAY == "cube":
        tl.store(y_ptr + at, tl.load(x_ptr + tl.load(x_ptr + place)))
    elif WAY == "written where twice":
        tl.store(y_ptr + tl.load(x_ptr + place), at)
    else:
        tl.store(y_ptr + at, -at, mask=tl.load(x_ptr + N - 1 - at) > N // 2)


PERMUTATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "inverse": torch.argsort,
    "square": lambda x: x[x],
    "cube": lambda x: x[x[x]],
    "written where twice": lambda x: torch.argsort(x[x]),
    "masked": lambda x: torch.where(x.flip(0) > len(x) // 2, -torch.arange(len(x)), x),
}


@pytest.mark.parametrize("N", [4, 64, 256])
@pytest.mark.parametrize("way", PERMUTATIONS)
def test_places_that_lie_in_what_is_written_are_all_read_first(way: str, N: int) -> None:
    """Later lanes wrote where the first ones had put numbers, also outside of the tensor."""
    x = torch.randperm(N, dtype=torch.int32)
    wanted = PERMUTATIONS[way](x.long()).int()
    apart = torch.zeros(N, dtype=torch.int32)
    run(scattered, (1,), {"y_ptr": apart, "x_ptr": x}, N=N, WAY=way)
    if way != "masked":
        assert torch.equal(apart, wanted)
    run(scattered, (1,), {"y_ptr": x, "x_ptr": x}, N=N, WAY=way)
    assert torch.equal(x, wanted)
