"""row_norm: y[n,c] = (x[n,c] - mean[n]) / sqrt(var[n] + EPS), with the mean and the biased variance of each row of x [N,C].

Two passes over a row that is at hand, since E[x^2] - E[x]^2 cancels.
Tile     one program takes BLOCK_N whole rows.
Traffic  x and y once.
Layout   any strides; fast: columns contiguous.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

from tritoncnn.errors import UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import (
    build,
    ceil_div,
    check_floats,
    check_rank,
    check_shape,
    power_of_2,
    row_block,
)
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.target import Target

LONGEST_ROW = 16384


class Tile(NamedTuple):
    BLOCK_N: int
    num_warps: int = 4


def pick_tile(N: int, C: int, target: Target) -> Tile:
    """Tile for N rows of C columns."""
    columns = power_of_2(C)
    if target.kind != "cpu":
        return Tile(max(min(1024 // columns, power_of_2(N)), 1), 4 if columns <= 4096 else 8)
    return Tile(row_block(N, 8, max(1024 // columns, 1), 1))


@triton.jit
def row_norm_kernel(
    y_ptr, mean_ptr, var_ptr, x_ptr, args,
    N: tl.constexpr, C: tl.constexpr, Y: tl.constexpr, X: tl.constexpr, MEAN: tl.constexpr, VAR: tl.constexpr,  # memory strides
    EPS: tl.constexpr, EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    offs_n = block_offsets(program(0, GRID, WIDE) * BLOCK_N, BLOCK_N, WIDE)
    offs_c = block_offsets(0, BLOCK_C, WIDE)
    mask_n = offs_n < N
    mask = mask_n[:, None] & (offs_c < C)[None, :]
    x = tl.load(x_ptr + (offs_n * X[0])[:, None] + (offs_c * X[1])[None, :], mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(x, 1) * (1.0 / C)
    mean += tl.sum(tl.where(mask, x - mean[:, None], 0.0), 1) * (1.0 / C)  # equal numbers: now exactly theirs
    x = tl.where(mask, x - mean[:, None], 0.0)
    var = tl.sum(x * x, 1) * (1.0 / C)
    y = x * tl.rsqrt(var + EPS)[:, None]
    if EPILOGUE is not None:
        y = EPILOGUE(y, args, (offs_n[:, None], offs_c[None, :]), mask)
    tl.store(y_ptr + (offs_n * Y[0])[:, None] + (offs_c * Y[1])[None, :], y, mask=mask)
    tl.store(mean_ptr + offs_n * MEAN, mean, mask=mask_n)
    tl.store(var_ptr + offs_n * VAR, var, mask=mask_n)


def row_norm(
    y: TensorType, mean: TensorType, var: TensorType, x: TensorType, *, eps: float, epilogue: Slot | None = None,
    tile: Tile | None = None, target: Target,
) -> Launch:  # fmt: skip
    """y [N,C], mean and var [N,1] of x [N,C]. Raises ShapeError, DTypeError, and UnsupportedError for rows that are too long."""
    check_rank("row_norm", 2, y=y, mean=mean, var=var, x=x)
    check_floats("row_norm", y=y, mean=mean, var=var, x=x)
    N, C = x.shape
    check_shape("row_norm", "y", y, (N, C), "as x is")
    check_shape("row_norm", "mean", mean, (N, 1), "one per row of x")
    check_shape("row_norm", "var", var, (N, 1), "one per row of x")
    if not 1 <= C <= LONGEST_ROW:
        raise UnsupportedError(f"row_norm: x must have 1 to {LONGEST_ROW} columns; got {list(x.shape)}")
    tile = tile or pick_tile(N, C, target)
    return build(
        row_norm_kernel,
        (ceil_div(N, tile.BLOCK_N),),
        {"y_ptr": y, "mean_ptr": mean, "var_ptr": var, "x_ptr": x},
        N=N, C=C, Y=y.strides, X=x.strides, MEAN=mean.strides[0], VAR=var.strides[0], EPS=eps,
        BLOCK_C=power_of_2(C), **tile._asdict(),
        slot=epilogue,
        results=3,
        flops=8 * N * C,
    )  # fmt: skip
