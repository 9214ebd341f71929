"""group_mean: y[n,c] = epilogue(mean of x[n,c'] over the channels c' of c's group), for x [N,C] of G groups of C/G neighbours.

Of equal elements exactly their value.
Tile     one program takes BLOCK_N whole groups, of all samples together.
Traffic  x and y once.
Layout   any strides; fast: channels contiguous.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, check_floats, check_rank, check_shape, power_of_2, row_block
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.target import Target

LARGEST_GROUP = 16384


class Tile(NamedTuple):
    BLOCK_N: int
    num_warps: int = 4


def pick_tile(rows: int, size: int, target: Target) -> Tile:
    """Tile for so many groups, of all samples, of this size."""
    largest = max(1024 // power_of_2(size), 1)
    return Tile(row_block(rows, 8, largest, 1) if target.kind == "cpu" else min(largest, power_of_2(rows)))


@triton.jit
def group_mean_kernel(
    y_ptr, x_ptr, args,
    N: tl.constexpr, G: tl.constexpr, SIZE: tl.constexpr, Y: tl.constexpr, X: tl.constexpr,  # of a group; memory strides
    EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    rows = block_offsets(program(0, GRID, WIDE) * BLOCK_N, BLOCK_N, WIDE)[:, None]
    inner = block_offsets(0, BLOCK_C, WIDE)[None, :]
    n, c = rows // G, rows % G * SIZE + inner
    mask = (rows < N * G) & (inner < SIZE)
    x = tl.load(x_ptr + n * X[0] + c * X[1], mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(x, 1)[:, None] * (1.0 / SIZE)
    mean += tl.sum(tl.where(mask, x - mean, 0.0), 1)[:, None] * (1.0 / SIZE)  # equal numbers: now exactly theirs
    y = tl.broadcast_to(mean, (BLOCK_N, BLOCK_C))
    if EPILOGUE is not None:
        y = EPILOGUE(y, args, (n, c), mask)
    tl.store(y_ptr + n * Y[0] + c * Y[1], y, mask=mask)


def group_mean(
    y: TensorType, x: TensorType, groups: int, *, epilogue: Slot | None = None, tile: Tile | None = None, target: Target
) -> Launch:
    """y [N,C] of x [N,C]. Raises ShapeError, DTypeError, and UnsupportedError for groups that are too large."""
    check_rank("group_mean", 2, y=y, x=x)
    check_floats("group_mean", y=y, x=x)
    N, C = x.shape
    check_shape("group_mean", "y", y, (N, C), "as x is")
    if groups < 1 or C % groups:
        raise ShapeError(f"group_mean: groups must divide the {C} channels of x; got {groups}")
    size = C // groups
    if not 1 <= size <= LARGEST_GROUP:
        raise UnsupportedError(f"group_mean: a group must have 1 to {LARGEST_GROUP} channels; got {size}")
    tile = tile or pick_tile(N * groups, size, target)
    return build(
        group_mean_kernel,
        (ceil_div(N * groups, tile.BLOCK_N),),
        {"y_ptr": y, "x_ptr": x},
        N=N, G=groups, SIZE=size, Y=y.strides, X=x.strides, BLOCK_C=power_of_2(size),
        slot=epilogue,
        flops=4 * N * C,
        **tile._asdict(),
    )  # fmt: skip
