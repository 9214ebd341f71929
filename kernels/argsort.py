"""argsort: y[.., r, ..] = the place along a dim of the element that comes r-th, for the first ones or for all.

Order    ascending or descending; equal elements in the order of their places. 0 and -0 are equal, NaN is above all numbers.
Method   an element's rank is how many come before it: N comparisons for each of N, all independent of each other, where a
         sorting network exchanges. Each element then writes its place at its rank: no two write one entry.
Tile     one program ranks BLOCK_LANES elements of each of BLOCK_ROWS lines.
Traffic  x once per block of lanes, y once.
Layout   any strides; fast: the sorted dim contiguous.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tritoncnn.errors import DTypeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, check_shape, power_of_2, row_block
from tritoncnn.kernels.device import block_offsets, five_coordinates, five_offset, program
from tritoncnn.kernels.dims import five_dims, merge_dims, without_dim
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.pointwise import Tile
from tritoncnn.kernels.target import Target

CPU_ELEMENTS = 256  # of a program
CPU_PROGRAMS = 8


def pick_tile(rows: int, lanes: int, target: Target) -> Tile:
    """Tile for so many lines of so many elements."""
    block = min(power_of_2(lanes), CPU_ELEMENTS)
    if target.kind != "cpu":
        return Tile(max(256 // block, 1), block)
    return Tile(row_block(rows, CPU_PROGRAMS, CPU_ELEMENTS // block, 1, ceil_div(lanes, block)), block)


@triton.jit
def _key(x, DESCENDING: tl.constexpr):
    """A whole number that is smaller for what comes first."""
    if x.dtype.is_floating():
        x = x.to(tl.float32)
        bits = x.to(tl.int32, bitcast=True)
        key = tl.where(x != x, 0x7FFFFFFF, tl.where(x == 0.0, 0, bits ^ ((bits >> 31) & 0x7FFFFFFF)))
    elif x.dtype == tl.int64:
        key = x
    else:
        key = x.to(tl.int32)
    return ~key if DESCENDING else key


@triton.jit
def argsort_kernel(
    y_ptr, x_ptr,
    ROWS: tl.constexpr, SIZES: tl.constexpr,  # lines; the five dims, the sorted one last
    Y: tl.constexpr, X: tl.constexpr,  # memory strides of the five
    COUNT: tl.constexpr, DESCENDING: tl.constexpr,  # entries of y along the dim
    GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_LANES: tl.constexpr,
):  # fmt: skip
    LENGTH: tl.constexpr = SIZES[4]
    rows = block_offsets(program(0, GRID, WIDE) * BLOCK_ROWS, BLOCK_ROWS, WIDE)
    first = program(1, GRID, WIDE) * BLOCK_LANES
    lanes = block_offsets(first, BLOCK_LANES, WIDE)
    mask_rows = (rows < ROWS)[:, None]
    mask = mask_rows & (lanes < LENGTH)[None, :]
    i = five_coordinates(rows, lanes, SIZES)
    mine = _key(tl.load(x_ptr + five_offset(i, X), mask=mask, other=0), DESCENDING)
    line_x = x_ptr + (i[0] * X[0] + i[1] * X[1] + i[2] * X[2] + i[3] * X[3])[:, None]
    line_y = y_ptr + (i[0] * Y[0] + i[1] * Y[1] + i[2] * Y[2] + i[3] * Y[3])[:, None]
    rank = tl.zeros((BLOCK_ROWS, BLOCK_LANES), tl.int32)
    last = tl.minimum(first + BLOCK_LANES, LENGTH)
    for j in range(0, first):  # of equals, those before the block come first
        rank += (_key(tl.load(line_x + j * X[4], mask=mask_rows, other=0), DESCENDING) <= mine).to(tl.int32)
    for j in range(first, last):
        other = _key(tl.load(line_x + j * X[4], mask=mask_rows, other=0), DESCENDING)
        rank += ((other < mine) | ((other == mine) & (lanes > j)[None, :])).to(tl.int32)
    for j in range(last, LENGTH):
        rank += (_key(tl.load(line_x + j * X[4], mask=mask_rows, other=0), DESCENDING) < mine).to(tl.int32)
    place = (lanes[None, :] + rank * 0).to(tl.int64)
    tl.store(line_y + rank * Y[4], place, mask=mask & (rank < COUNT))


def argsort(
    y: TensorType, x: TensorType, dim: int, *, descending: bool = False, tile: Tile | None = None, target: Target
) -> Launch:
    """y = the places of x's elements along ``dim`` in order, as many as y has.

    Raises ShapeError, DTypeError, UnsupportedError.
    """
    if y.dtype != "i64" or x.dtype == "f64":
        raise DTypeError(f"argsort: y must be i64 and x not f64; got {y.dtype} and {x.dtype}")
    length = x.shape[dim]
    count = y.shape[dim] if y.rank == x.rank else -1
    check_shape(
        "argsort", "y", y, (*x.shape[:dim], min(count, length), *x.shape[dim + 1 :]), "at most x's size along dim"
    )
    others = merge_dims([without_dim(t, dim) for t in (x, y)])
    sizes, (x_strides, y_strides) = five_dims("argsort", others, 2, last=(length, [x.strides[dim], y.strides[dim]]))
    rows = x.numel // max(length, 1)
    tile = tile or pick_tile(rows, length, target)
    return build(
        argsort_kernel,
        (ceil_div(rows, tile.BLOCK_ROWS), ceil_div(length, tile.BLOCK_LANES)),
        {"y_ptr": y, "x_ptr": x},
        ROWS=rows, SIZES=sizes, Y=y_strides, X=x_strides, COUNT=count, DESCENDING=descending,
        flops=x.numel * length,
        **tile._asdict(),
    )  # fmt: skip
