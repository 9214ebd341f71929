"""Loops cut where a mask ends, and stores in two versions: for tensors apart, and for one tensor under two names."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from . import harness

COLUMNS = (1, 15, 16, 17, 100, 240, 255)


@triton.jit
def rows_kernel(Y, Z, X, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    mask = offs < COLUMNS
    row = tl.program_id(0) * COLUMNS
    x = tl.load(X + row + offs, mask=mask, other=-1.0)
    e = tl.where(mask, tl.exp(x), 0.0)
    tl.store(Y + row + offs, e / tl.sum(e, 0), mask=mask)
    tl.store(Z + tl.program_id(0), tl.sum(x, 0))


@pytest.mark.parametrize("lanes", [16, 8, 4])
@pytest.mark.parametrize("columns", COLUMNS)
def test_a_mask_that_ends_in_the_block_is_right_on_both_sides(columns: int, lanes: int) -> None:
    x, z = torch.randn(3, columns), torch.zeros(3)
    y = torch.full((3 * columns + 300,), 7.0)
    harness.run(rows_kernel, (3,), {"Y": y, "Z": z, "X": x}, lanes, COLUMNS=columns, BLOCK=256)
    torch.testing.assert_close(y[: 3 * columns].reshape(3, columns), torch.softmax(x, 1))
    torch.testing.assert_close(z, x.sum(1) - (256 - columns))
    assert (y[3 * columns :] == 7).all()


@triton.jit
def tile_kernel(Y, X, N, COLUMNS: tl.constexpr, BLOCK: tl.constexpr, TURNED: tl.constexpr):
    i, j = tl.arange(0, 8)[:, None], tl.arange(0, BLOCK)[None, :]
    mask = (i < N) & (j < COLUMNS)
    x = tl.load(X + i * COLUMNS + j, mask=mask, other=2.0)
    y = tl.where(j < COLUMNS, x, 5.0) * 2
    if TURNED:
        tl.store(Y + tl.arange(0, BLOCK)[:, None] * 8 + tl.arange(0, 8)[None, :], tl.trans(y))
    else:
        tl.store(Y + i * BLOCK + j, y)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("columns", [3, 16, 50])
def test_a_mask_of_columns_joins_one_of_rows(columns: int, turned: bool) -> None:
    x, y = torch.randn(5, columns), torch.zeros(8, 64)
    harness.run(tile_kernel, (1,), {"Y": y, "X": x, "N": 5}, COLUMNS=columns, BLOCK=64, TURNED=turned)
    expected = torch.full((8, 64), 10.0)
    expected[:, :columns] = 4
    expected[:5, :columns] = x * 2
    assert torch.equal(y.view(64, 8).T if turned else y, expected)


@triton.jit
def two_masks_kernel(Y, X, A: tl.constexpr, B: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + offs, mask=offs < A, other=1.0)
    inner = tl.load(X + offs, mask=(offs >= 20) & (offs != 40), other=3.0)
    tl.store(Y + offs, x + inner, mask=offs < B)


def test_masks_that_end_at_several_places_or_begin_late() -> None:
    x, y = torch.randn(128), torch.zeros(128)
    harness.run(two_masks_kernel, (1,), {"Y": y, "X": x}, A=50, B=90, BLOCK=128)
    i = torch.arange(128)
    expected = torch.where(i < 50, x, 1.0) + torch.where((i >= 20) & (i != 40), x, 3.0)
    assert torch.equal(y, torch.where(i < 90, expected, 0.0))


@triton.jit
def mirrored_kernel(Y, X, B, N: tl.constexpr):
    offs = tl.arange(0, N)
    tl.store(Y + offs, tl.load(X + offs) + tl.load(B + (N - 1) - offs))


@pytest.mark.parametrize("lanes", [16, 4])
def test_a_store_to_the_tensor_that_it_reads_elsewhere_reads_first(lanes: int) -> None:
    x, b, y = torch.randn(64), torch.randn(64), torch.zeros(64)
    harness.run(mirrored_kernel, (1,), {"Y": y, "X": x, "B": b}, lanes, N=64)
    assert torch.equal(y, x + b.flip(0))
    harness.run(mirrored_kernel, (1,), {"Y": b, "X": x, "B": b}, lanes, N=64)
    assert torch.equal(b, y)
    harness.run(mirrored_kernel, (1,), {"Y": x, "X": x, "B": x}, lanes, N=64)
    assert torch.equal(x, x.flip(0))
