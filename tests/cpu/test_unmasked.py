"""Rows of a block that no mask cuts have a body without masks: the same values, and nothing is read that a mask forbids."""

from __future__ import annotations

import re

import pytest
import torch
import triton
import triton.language as tl

from tritoncnn.cpu.lower import lower

from . import harness

TAPS, ROWS, LANES = 9, 16, 16  # so many sums that each has one chain


@triton.jit
def windows_kernel(
    Y, S, X, M, n, far, WAY: tl.constexpr, TAPS: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr
):  # fmt: skip
    """y[i] = sum over t of x[i + t] where m[t, i] and i < n, and of x[far] where m[0, i]; s[t]: sums over i of their terms."""
    i, lanes = tl.arange(0, ROWS), tl.arange(0, LANES)
    acc = tl.zeros((ROWS, LANES), tl.float32)
    terms = ()
    for t in tl.static_range(0, TAPS):
        inside = (tl.load(M + t * ROWS + i) != 0) & (i < n) & (i + t < ROWS + n)
        x = tl.load(X + ((i + t) * LANES)[:, None] + lanes[None, :], mask=inside[:, None], other=0.0)
        if t == 0:
            x += tl.load(X + far + (i * 0)[:, None] + lanes[None, :], mask=inside[:, None], other=0.0)
        acc += x
        terms += (x,)  # type: ignore[assignment]
    if WAY == "store":
        tl.store(Y + (i * LANES)[:, None] + lanes[None, :], acc)
    else:
        sums = ()
        for t in tl.static_range(0, TAPS):
            sums += (tl.sum(terms[t], 0),)  # type: ignore[assignment]
        for t in tl.static_range(0, TAPS):
            tl.store(S + t * LANES + lanes, sums[t])


MASKS = {
    "whole": torch.ones(TAPS, ROWS),
    "none": torch.zeros(TAPS, ROWS),
    "edges": torch.tensor([[0.0] + [1.0] * (ROWS - 1), [1.0] * ROWS, [1.0] * (ROWS - 1) + [0.0]] * (TAPS // 3)),
    "first tap off": torch.tensor([0.0] + [1.0] * (TAPS - 1))[:, None].repeat(1, ROWS),
    "random": (torch.rand(TAPS, ROWS, generator=torch.Generator().manual_seed(0)) < 0.9).float(),
}


@pytest.mark.parametrize("way", ["store", "sums"])
@pytest.mark.parametrize("n", [ROWS, 11, 0])
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("lanes", [16, 8, 4])
def test_rows_with_and_without_masks_agree_with_torch(lanes: int, masks: str, n: int, way: str) -> None:
    torch.manual_seed(1)
    x = torch.randint(-8, 8, ((ROWS + TAPS) * LANES,)).float()  # sums of small integers are exact in any order
    inside = MASKS[masks].bool() & (torch.arange(ROWS) < n)
    far = 0 if bool(inside[0].any()) else 1 << 40  # an address that nothing lies at, for no row
    y, s = torch.full((ROWS, LANES), 5.0), torch.full((TAPS, LANES), 5.0)
    args = {"Y": y, "S": s, "X": x, "M": MASKS[masks].to(torch.int8), "n": n, "far": far}
    harness.run(windows_kernel, (1,), args, lanes, WAY=way, TAPS=TAPS, ROWS=ROWS, LANES=LANES)
    lines = x.view(ROWS + TAPS, LANES)
    terms = torch.stack([lines[t : t + ROWS] * inside[t][:, None] for t in range(TAPS)])
    terms[0] += lines[0] * inside[0][:, None]
    if way == "store":
        assert torch.equal(y, terms.sum(0))
    else:
        assert torch.equal(s, terms.sum(1))


@pytest.mark.parametrize("way", ["store", "sums"])
def test_a_body_without_masks_is_written(way: str) -> None:
    signature = {"Y": "*fp32", "S": "*fp32", "X": "*fp32", "M": "*i8", "n": "i32", "far": "i64"}
    constants = {"WAY": way, "TAPS": TAPS, "ROWS": ROWS, "LANES": LANES}
    text = lower(harness.ttir(windows_kernel, signature, constants), lanes=16)
    bodies = [body for _, body in re.findall(r"^(E\d+)f:\n(.*?)^\1fe:", text, re.MULTILINE | re.DOTALL)]
    assert any("select" not in body and body.count("load <16 x float>") == TAPS + 1 for body in bodies)


@triton.jit
def lines_kernel(Y, X, W, TILES: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr):
    """y[i] = x[i] * sqrt(w + 1) for i < N, lines of so many lanes; in tiles of so many rows."""
    tile = 0
    if TILES > 1:
        tile = tl.program_id(0)
        tl.assume(tile < TILES)
    i, lanes = tile * ROWS + tl.arange(0, ROWS), tl.arange(0, LANES)
    at, mask = (i * LANES)[:, None] + lanes[None, :], (i < N)[:, None]
    line = tl.sqrt_rn(tl.load(W + lanes) + 1.0)
    tl.store(Y + at, tl.load(X + at, mask=mask) * line[None, :], mask=mask)


def lines_text(tiles: int, rows: int) -> str:
    """The LLVM IR of tiles of 16 rows of 64 lanes."""
    constants = {"TILES": tiles, "N": rows, "ROWS": ROWS, "LANES": 64}
    return lower(harness.ttir(lines_kernel, dict.fromkeys(("Y", "X", "W"), "*fp32"), constants), lanes=16)


@pytest.mark.parametrize("rows", [11, 16, 40, 48])
def test_tiles_that_end_before_with_or_beyond_their_tensor_agree_with_torch(rows: int) -> None:
    x, w, y = torch.randn(rows, 64), torch.rand(64), torch.zeros(rows, 64)
    tiles = -(-rows // ROWS)
    harness.run(lines_kernel, (tiles,), {"Y": y, "X": x, "W": w}, 16, TILES=tiles, N=rows, ROWS=ROWS, LANES=64)
    torch.testing.assert_close(
        y, x * (w + 1).sqrt(), rtol=3e-7, atol=0
    )  # the sum, the root and the product round once each


def test_a_mask_that_ranges_decide_costs_nothing() -> None:
    assert "i8" not in lines_text(3, 48).split("define void @chunk")[0]
    assert (
        "i8" in lines_text(3, 40).split("define void @chunk")[0]
    )  # where the mask cuts a tile it lies in bytes, one a row


def test_rows_beyond_the_tensor_are_not_computed() -> None:
    assert re.search(r"icmp slt i32 %\w+, 11$", lines_text(1, 11), re.MULTILINE)


def test_a_line_that_only_leads_to_another_has_no_buffer() -> None:
    lines = re.findall(r"alloca float, i64 64", lines_text(3, 48))
    assert len(lines) == 1  # the root's: not the loaded one's, nor the sum's


@triton.jit
def spread_kernel(Y, X, N: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr):
    """y = x / (the line's sum + its greatest times its least), lines as above."""
    tile = tl.program_id(0)
    tl.assume(tile < N // ROWS)
    i, lanes = tile * ROWS + tl.arange(0, ROWS), tl.arange(0, LANES)
    at, mask = (i * LANES)[:, None] + lanes[None, :], (i < N)[:, None] & (lanes < LANES)[None, :]
    x = tl.load(X + at, mask=mask, other=0.0)
    tl.store(Y + at, x / (tl.sum(x, 1) + tl.max(x, 1) * tl.min(x, 1))[:, None], mask=mask)


def test_what_lies_in_memory_as_it_is_wanted_is_not_copied() -> None:
    x, y = torch.rand(48, 64), torch.zeros(48, 64)
    constants = {"N": 48, "ROWS": ROWS, "LANES": 64}
    harness.run(spread_kernel, (3,), {"Y": y, "X": x}, 16, **constants)
    wanted = x.double()
    wanted /= wanted.sum(1, keepdim=True) + (wanted.amax(1) * wanted.amin(1))[:, None]
    torch.testing.assert_close(
        y, wanted.float(), rtol=66 * 2.0**-24, atol=0
    )  # a sum of 64 positive numbers, a quotient
    text = lower(harness.ttir(spread_kernel, dict.fromkeys(("Y", "X"), "*fp32"), constants), lanes=16)
    assert f"alloca float, i64 {ROWS * 64}" not in text


@triton.jit
def taps_kernel(Y, X, TAPS: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr):
    """y[i] = the sum of x[i] to x[i + TAPS - 1], lines as above."""
    i, lanes = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, LANES)
    total = tl.zeros((ROWS, LANES), tl.float32)
    for tap in tl.static_range(TAPS):
        total += tl.load(X + ((i + tap) * LANES)[:, None] + lanes[None, :])
    tl.store(Y + (i * LANES)[:, None] + lanes[None, :], total)


def test_a_sum_of_many_plain_loads_has_no_buffer_on_its_way() -> None:
    x, y = torch.randint(-9, 10, (48 + 24, 64)).float(), torch.zeros(48, 64)
    constants = {"TAPS": 25, "ROWS": ROWS, "LANES": 64}
    harness.run(taps_kernel, (3,), {"Y": y, "X": x}, 16, **constants)
    assert torch.equal(y, x.unfold(0, 25, 1).sum(-1))
    text = lower(harness.ttir(taps_kernel, dict.fromkeys(("Y", "X"), "*fp32"), constants), lanes=16)
    blocks = re.findall(f"alloca float, i64 {ROWS * 64},", text)
    assert len(blocks) == 1  # of the whole sum, for y may be x
