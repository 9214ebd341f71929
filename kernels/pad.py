"""pad2d: y[n,c,h,w] = x[n,c, h-TOP, w-LEFT], 0 outside x; negative padding crops.

Serves   convolutions with padding and few channels: one zero-padded copy, then the unpadded kernel without masks.
Tile     one program makes BLOCK_ROWS rows of BLOCK_LANES lanes. A row is one h of an image; lanes run over w and c where
         channels are innermost (as one dim where both lie densely), else over w, and each channel has its own rows.
Traffic  x and y once.
Layout   any strides; fast: NHWC to NHWC, NCHW to NCHW.
Border   border2d writes the zeros alone, of an x that lies inside of y already. Rows are the border's pixels, lanes channels:
         first the rows above and below the image, then what is left and right of it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, check_rank, check_shape, power_of_2, row_block
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.target import Target


class Tile(NamedTuple):
    BLOCK_ROWS: int
    BLOCK_LANES: int
    num_warps: int = 4


CPU_PROGRAMS = 8


def pick_tile(rows: int, lanes: int, target: Target) -> Tile:
    """Tile for so many rows of so many lanes."""
    block = min(power_of_2(lanes), 512)
    if target.kind != "cpu":
        return Tile(max(1024 // block, 1), block)
    return Tile(row_block(rows, CPU_PROGRAMS, max(4096 // block, 1), 1, ceil_div(lanes, block)), block)


@triton.jit
def pad2d_kernel(
    y_ptr, x_ptr,
    N: tl.constexpr, H: tl.constexpr, W: tl.constexpr, HP: tl.constexpr, WP: tl.constexpr,  # sizes of x and of y
    ROW_C: tl.constexpr, LANE_C: tl.constexpr,  # channels in the order of rows or of lanes, the other is 1
    TOP: tl.constexpr, LEFT: tl.constexpr,
    Y: tl.constexpr, X: tl.constexpr,  # memory strides
    GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_LANES: tl.constexpr,
):  # fmt: skip
    rows = block_offsets(program(0, GRID, WIDE) * BLOCK_ROWS, BLOCK_ROWS, WIDE)
    lanes = block_offsets(program(1, GRID, WIDE) * BLOCK_LANES, BLOCK_LANES, WIDE)
    n, row_c, h = rows // (ROW_C * HP), rows // HP % ROW_C, rows % HP
    w, lane_c = lanes // LANE_C, lanes % LANE_C
    mask_rows, mask_lanes = rows < N * ROW_C * HP, lanes < WP * LANE_C
    x_rows = mask_rows & (h >= TOP) & (h < H + TOP)
    x_lanes = mask_lanes & (w >= LEFT) & (w < W + LEFT)
    offs_rows = tl.where(x_rows, n * X[0] + row_c * X[1] + (h - TOP) * X[2], 0)
    offs_lanes = (w - LEFT) * X[3] + lane_c * X[1]
    x = tl.load(x_ptr + offs_rows[:, None] + offs_lanes[None, :], mask=x_rows[:, None] & x_lanes[None, :], other=0)
    offs_y = (n * Y[0] + row_c * Y[1] + h * Y[2])[:, None] + (w * Y[3] + lane_c * Y[1])[None, :]
    tl.store(y_ptr + offs_y, x, mask=mask_rows[:, None] & mask_lanes[None, :])


def pad2d(
    y: TensorType, x: TensorType, *, padding: tuple[int, int, int, int], tile: Tile | None = None, target: Target
) -> Launch:
    """y [N,C,HP,WP] = x [N,C,H,W] with ``padding`` = (top, bottom, left, right) zeros; negative numbers crop.

    Raises ShapeError, DTypeError.
    """
    check_rank("pad2d", 4, y=y, x=x)
    if y.dtype != x.dtype:
        raise DTypeError(f"pad2d: y must be {x.dtype}, as x is; got {y.dtype}")
    (N, C, H, W), (top, bottom, left, right) = x.shape, padding
    HP, WP = H + top + bottom, W + left + right
    if min(HP, WP, H + min(top, bottom), W + min(left, right)) < 0:
        raise ShapeError(f"pad2d: padding must not crop more than there is of x {list(x.shape)}; got {list(padding)}")
    check_shape("pad2d", "y", y, (N, C, HP, WP), f"x {list(x.shape)} padded by {list(padding)}")
    channels_last = C == 1 or y.strides[1] < y.strides[3]
    y_strides, x_strides = y.strides, x.strides
    row_c, lane_c = (1, C) if channels_last else (C, 1)
    sizes = (W, WP, left)
    if channels_last and all(t.strides[3] == C * t.strides[1] for t in (y, x)):
        # A pixel's channels follow each other, and so do pixels: one dim of W * C.
        sizes = (W * C, WP * C, left * C)
        lane_c = 1
        y_strides, x_strides = ((*t.strides[:3], t.strides[1]) for t in (y, x))
    rows, lanes = N * row_c * HP, sizes[1] * lane_c
    tile = tile or pick_tile(rows, lanes, target)
    return build(
        pad2d_kernel,
        (ceil_div(rows, tile.BLOCK_ROWS), ceil_div(lanes, tile.BLOCK_LANES)),
        {"y_ptr": y, "x_ptr": x},
        N=N, H=H, W=sizes[0], HP=HP, WP=sizes[1], ROW_C=row_c, LANE_C=lane_c, TOP=top, LEFT=sizes[2],
        Y=y_strides, X=x_strides, **tile._asdict(),
    )  # fmt: skip


@triton.jit
def border2d_kernel(
    y_ptr,
    N: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, WP: tl.constexpr,  # sizes of x, width of y
    ABOVE: tl.constexpr, COUNT: tl.constexpr,  # pixels of an image's border: above and below it, and all
    TOP: tl.constexpr, LEFT: tl.constexpr,
    Y: tl.constexpr,  # memory strides
    GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_LANES: tl.constexpr,
):  # fmt: skip
    rows = block_offsets(program(0, GRID, WIDE) * BLOCK_ROWS, BLOCK_ROWS, WIDE)
    c = block_offsets(program(1, GRID, WIDE) * BLOCK_LANES, BLOCK_LANES, WIDE)
    n, pixel = rows // COUNT, rows % COUNT
    h, w = pixel // WP, pixel % WP
    h = tl.where(h < TOP, h, h + H)
    if ABOVE < COUNT:
        beside = pixel - ABOVE
        column = beside % (WP - W)
        h = tl.where(beside < 0, h, TOP + beside // (WP - W))
        w = tl.where(beside < 0, w, tl.where(column < LEFT, column, column + W))
    offs = (n * Y[0] + h * Y[2] + w * Y[3])[:, None] + (c * Y[1])[None, :]
    mask = (rows < N * COUNT)[:, None] & (c < C)[None, :]
    tl.store(y_ptr + offs, tl.zeros((BLOCK_ROWS, BLOCK_LANES), y_ptr.dtype.element_ty), mask=mask)


def border2d(y: TensorType, *, padding: tuple[int, int, int, int], tile: Tile | None = None, target: Target) -> Launch:
    """y [N,C,HP,WP] = 0 in the outermost ``padding`` = (top, bottom, left, right) rows and columns; all else is left as it is.

    Raises ShapeError.
    """
    check_rank("border2d", 4, y=y)
    (N, C, HP, WP), (top, bottom, left, right) = y.shape, padding
    H, W = HP - top - bottom, WP - left - right
    if min(H, W, *padding) < 0:
        raise ShapeError(f"border2d: padding must fit into y {list(y.shape)}, and not crop; got {list(padding)}")
    above = (top + bottom) * WP
    count = above + H * (left + right)
    tile = tile or pick_tile(N * count, C, target)
    return build(
        border2d_kernel,
        (ceil_div(N * count, tile.BLOCK_ROWS), ceil_div(C, tile.BLOCK_LANES)),
        {"y_ptr": y},
        N=N, C=C, H=H, W=W, WP=WP, ABOVE=above, COUNT=max(count, 1), TOP=top, LEFT=left, Y=y.strides,
        **tile._asdict(),
    )  # fmt: skip


def pad2d_torch(x: torch.Tensor, padding: tuple[int, int, int, int]) -> torch.Tensor:
    """What pad2d means, in plain torch."""
    top, bottom, left, right = padding
    return torch.nn.functional.pad(x, (left, right, top, bottom))
