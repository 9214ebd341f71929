"""softmax_cross_entropy: loss = mean or sum over n of lse[n] - x[n, target[n]], lse[n] = log sum over c of exp(x[n,c]).

Rows whose target is IGNORE count nowhere: the mean is over the others, NaN where there are none.
Gradient dx[n,c] = (exp(x[n,c] - lse[n]) - (c == target[n])) * scale, scale = 1/rows for the mean, made in the same pass over x.
Also     softmax: y[n,c] = exp(x[n,c]) / sum over c of exp(x[n,c]), or its logarithm x[n,c] - lse[n].
Stable   the row's maximum is taken off before exp.
Targets  i64. One outside 0..C-1 that is not IGNORE makes its row's loss and gradient NaN; nothing outside x is read.
Tile     one program takes BLOCK_N whole rows at a time. ``whole`` tile: one program takes all rows and writes the loss.
         Else each of at most PARTS programs writes its rows' losses to a workspace, and a last launch adds them in fixed order.
         For the mean a launch before counts the rows, since every row's gradient is divided by their number.
Traffic  x and dx once.
Layout   any strides; fast: classes contiguous.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from tritoncnn.errors import DTypeError, ShapeError, UnsupportedError
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
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.sum_parts import parts_type, sum_parts
from tritoncnn.kernels.target import Target


class Tile(NamedTuple):
    BLOCK_N: int
    whole: bool = False
    num_warps: int = 4


PARTS = 256
WHOLE_ELEMENTS = 8192  # up to so many logits one program is faster than a second launch
LONGEST_ROW = 65536


def pick_tile(N: int, C: int, target: Target) -> Tile:
    """Tile for N rows of C classes."""
    columns = power_of_2(C)
    if target.kind != "cpu":
        return Tile(max(min(1024 // columns, power_of_2(N)), 1), False, 4)
    if N * C <= WHOLE_ELEMENTS:
        return Tile(max(min(1024 // columns, power_of_2(N)), 1), True)
    return Tile(row_block(N, 8, max(1024 // columns, 1), 1))


@triton.jit
def _count_rows(
    target_ptr, N: tl.constexpr, STRIDE_T: tl.constexpr, IGNORE: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr
):
    """How many of the N targets are not IGNORE, as f32."""
    rows = tl.zeros((BLOCK,), tl.int32)
    for step in range(0, (N + BLOCK - 1) // BLOCK):
        offs_n = block_offsets(step * BLOCK, BLOCK, WIDE)
        target = tl.load(target_ptr + offs_n * STRIDE_T, mask=offs_n < N, other=IGNORE)
        rows += (target != IGNORE).to(tl.int32)
    return tl.sum(rows, 0).to(tl.float32)


@triton.jit
def count_rows_kernel(
    count_ptr, target_ptr, N: tl.constexpr, STRIDE_T: tl.constexpr, IGNORE: tl.constexpr,
    GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    tl.store(count_ptr, _count_rows(target_ptr, N, STRIDE_T, IGNORE, WIDE, BLOCK))


@triton.jit
def softmax_cross_entropy_kernel(
    loss_ptr, dx_ptr, x_ptr, target_ptr,  # loss_ptr: the loss when STEPS covers all rows, else one value per program
    count_ptr,  # how many rows count, where a launch before has found it
    N: tl.constexpr, C: tl.constexpr, DX: tl.constexpr, X: tl.constexpr, STRIDE_T: tl.constexpr,  # memory strides
    MEAN: tl.constexpr, IGNORE: tl.constexpr, STEPS: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    pid = program(0, GRID, WIDE)
    scale = 1.0
    if MEAN:
        if count_ptr is None:
            scale = 1.0 / _count_rows(target_ptr, N, STRIDE_T, IGNORE, WIDE, BLOCK_N)
        else:
            scale = 1.0 / tl.load(count_ptr)
    offs_c = block_offsets(0, BLOCK_C, WIDE)
    mask_c = offs_c < C
    total = tl.zeros((BLOCK_N,), tl.float32)
    for step in range(0, STEPS):
        offs_n = block_offsets((pid * STEPS + step) * BLOCK_N, BLOCK_N, WIDE)
        mask_n = offs_n < N
        mask = mask_n[:, None] & mask_c[None, :]
        x = tl.load(x_ptr + (offs_n * X[0])[:, None] + (offs_c * X[1])[None, :], mask=mask, other=float("-inf")).to(
            tl.float32
        )
        target = tl.load(target_ptr + offs_n * STRIDE_T, mask=mask_n, other=IGNORE)
        counts = target != IGNORE
        largest = tl.max(x, 1)
        lse = largest + tl.log(tl.sum(tl.exp(x - largest[:, None]), 1))
        # The target's logit without an address: no class matches a target out of range.
        hot = target[:, None] == offs_c[None, :]
        lse = tl.where((target >= 0) & (target < C), lse, float("nan"))
        loss = lse - tl.sum(tl.where(hot, x, 0.0), 1)
        total += tl.where(counts, loss, 0.0)
        if dx_ptr is not None:
            dx = (tl.exp(x - lse[:, None]) - tl.where(hot, 1.0, 0.0)) * scale
            dx = tl.where(counts[:, None], dx, 0.0)
            tl.store(dx_ptr + (offs_n * DX[0])[:, None] + (offs_c * DX[1])[None, :], dx, mask=mask)
    tl.store(loss_ptr + pid, tl.sum(total, 0) * scale)


@triton.jit
def softmax_kernel(
    y_ptr, x_ptr, N: tl.constexpr, C: tl.constexpr, Y: tl.constexpr, X: tl.constexpr, LOG: tl.constexpr,
    GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    offs_n = block_offsets(program(0, GRID, WIDE) * BLOCK_N, BLOCK_N, WIDE)
    offs_c = block_offsets(0, BLOCK_C, WIDE)
    mask = (offs_n < N)[:, None] & (offs_c < C)[None, :]
    x = tl.load(x_ptr + (offs_n * X[0])[:, None] + (offs_c * X[1])[None, :], mask=mask, other=float("-inf")).to(
        tl.float32
    )
    x -= tl.max(x, 1)[:, None]
    power = tl.exp(x)
    if LOG:
        y = x - tl.log(tl.sum(power, 1))[:, None]
    else:
        y = power / tl.sum(power, 1)[:, None]
    tl.store(y_ptr + (offs_n * Y[0])[:, None] + (offs_c * Y[1])[None, :], y, mask=mask)


def _check_rows(op: str, x: TensorType) -> None:
    check_rank(op, 2, x=x)
    if not 1 <= x.shape[1] <= LONGEST_ROW:
        raise UnsupportedError(f"{op}: x must have 1 to {LONGEST_ROW} classes; got {list(x.shape)}")


def softmax_cross_entropy(
    loss: TensorType,
    dx: TensorType | None,
    x: TensorType,
    labels: TensorType,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
    tile: Tile | None = None,
    target: Target,
) -> tuple[tuple[Launch, ...], tuple[TensorType, ...]]:
    """loss [] = cross entropy of logits x [N,C] and class numbers ``labels`` [N]; dx [N,C], if given, its gradient for x.

    Returns the launches and the types of the workspaces they need: ((loss, [dx], x, labels),) and none, or for many rows
    ((count, labels), (parts, [dx], x, labels, count), (loss, parts)) and (parts, count); the sum needs no count.
    The mean of no rows is NaN. Raises ShapeError, DTypeError.
    """
    op = "softmax_cross_entropy"
    _check_rows(op, x)
    check_floats(op, loss=loss, dx=dx, x=x)
    N, C = x.shape
    check_shape(op, "target", labels, (N,), f"one class per row of x {list(x.shape)}")
    check_shape(op, "loss", loss, (), "one number")
    if dx is not None:
        check_shape(op, "dx", dx, x.shape, "as x is")
    if labels.dtype != "i64":
        raise DTypeError(f"{op}: target must be i64; got {labels.dtype}")
    if reduction not in ("mean", "sum"):
        raise ShapeError(f"{op}: reduction must be mean or sum; got {reduction}")
    tile = tile or pick_tile(N, C, target)
    blocks = ceil_div(N, tile.BLOCK_N)
    steps = max(ceil_div(blocks, 1 if tile.whole else PARTS), 1)
    programs = max(ceil_div(blocks, steps), 1)
    parts = parts_type(loss, None, programs) if programs > 1 else None
    mean = reduction == "mean"
    count = TensorType.dense("f32", ()) if parts and mean else None
    rows_of: dict[str, Any] = {"N": N, "STRIDE_T": labels.strides[0], "IGNORE": ignore_index}
    rows = build(
        softmax_cross_entropy_kernel,
        (programs,),
        {"loss_ptr": parts or loss, "dx_ptr": dx, "x_ptr": x, "target_ptr": labels, "count_ptr": count},
        **rows_of, C=C, DX=dx.strides if dx else None, X=x.strides, MEAN=mean,
        STEPS=steps, BLOCK_N=tile.BLOCK_N, BLOCK_C=power_of_2(C),
        results=1 if dx is None else 2,
        flops=6 * N * C,
        num_warps=tile.num_warps,
    )  # fmt: skip
    if parts is None:
        return (rows,), ()
    last = sum_parts(loss, None, parts, target=target)
    if count is None:
        return (rows, last), (parts,)
    pointers = {"count_ptr": count, "target_ptr": labels}
    first = build(count_rows_kernel, (1,), pointers, **rows_of, BLOCK=min(power_of_2(N), 1024), flops=N)
    return (first, rows, last), (parts, count)


def softmax(y: TensorType, x: TensorType, *, log: bool = False, tile: Tile | None = None, target: Target) -> Launch:
    """y [N,C] = softmax of each row of x, or its logarithm. Raises ShapeError, DTypeError."""
    _check_rows("softmax", x)
    check_floats("softmax", y=y, x=x)
    check_shape("softmax", "y", y, x.shape, "as x is")
    N, C = x.shape
    tile = tile or pick_tile(N, C, target)
    return build(
        softmax_kernel,
        (ceil_div(N, tile.BLOCK_N),),
        {"y_ptr": y, "x_ptr": x},
        N=N,
        C=C,
        Y=y.strides,
        X=x.strides,
        LOG=log,
        BLOCK_N=tile.BLOCK_N,
        BLOCK_C=power_of_2(C),
        flops=5 * N * C,
        num_warps=tile.num_warps,
    )


def softmax_cross_entropy_torch(
    x: torch.Tensor, target: torch.Tensor, reduction: str = "mean", ignore_index: int = -100
) -> torch.Tensor:
    """What softmax_cross_entropy means, in plain torch (which refuses targets out of range)."""
    return torch.nn.functional.cross_entropy(x, target, reduction=reduction, ignore_index=ignore_index)


def softmax_torch(x: torch.Tensor) -> torch.Tensor:
    """What softmax means, in plain torch."""
    return x.softmax(1)
