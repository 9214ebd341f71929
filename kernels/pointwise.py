"""pointwise: y[i, j, ...] = slot(0, operands at i, j, ...), a generated expression; copy: y = x in another layout or dtype.

Dims     ``flatten_when_dense`` merges dims that every tensor steps through evenly: into one where all share a dense layout.
Tile     one program makes BLOCK_ROWS rows (all dims but the last) of BLOCK_LANES lanes.
Traffic  every operand and the result once.
Layout   any strides, 0 for broadcast operands; fast: the operands contiguous along y's innermost dim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import triton
import triton.language as tl

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, power_of_2, row_block
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.dims import merge_dims, stretch
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.target import Target


class Tile(NamedTuple):
    BLOCK_ROWS: int
    BLOCK_LANES: int
    num_warps: int = 4


CPU_ELEMENTS = 4096  # of a program, enough to hide its cost
CPU_PROGRAMS = 8


def pick_tile(rows: int, lanes: int, target: Target) -> Tile:
    """Tile for so many rows of so many lanes."""
    if target.kind != "cpu":
        block = min(power_of_2(lanes), 1024)
        return Tile(max(1024 // block, 1), block)
    if rows == 1:
        return Tile(1, row_block(lanes, CPU_PROGRAMS, CPU_ELEMENTS, 256))
    block = min(power_of_2(lanes), 512)
    even = lanes & -lanes  # the largest power of two that divides: without a tail, nothing is masked
    if even >= 256:
        block = min(even, 512)
    return Tile(row_block(rows, CPU_PROGRAMS, CPU_ELEMENTS // block, 8, ceil_div(lanes, block)), block)


def pick_transposed(dims: list[tuple[int, list[int]]], target: Target) -> Tile:
    """Tile for a copy into another order: few lanes, whose cache lines stay near while the rows walk along them."""
    rows, lanes = math.prod(size for size, _ in dims[:-1]), dims[-1][0]
    block = min(power_of_2(lanes), 64)
    return Tile(row_block(rows, CPU_PROGRAMS, min(256, power_of_2(rows)), 16, ceil_div(lanes, block)), block)


def row_step(sizes: Sequence[int], strides: Sequence[int]) -> int:
    """The stride from row to row, where rows over several dims lie evenly spaced in memory; else 0."""
    dims = [(size, stride) for size, stride in zip(sizes, strides, strict=True) if size > 1]
    if not dims or any(outer != size * inner for (_, outer), (size, inner) in pairwise(dims)):
        return 0
    return dims[-1][1]


def flatten_when_dense(y: TensorType, operands: Sequence[TensorType]) -> tuple[TensorType, tuple[TensorType, ...]]:
    """The same elements in as few dims as possible: one, when y and all operands lie densely in one order.

    Dims come in the order of y's memory; those of size 1 vanish; neighbours merge where in every tensor the outer stride is
    the inner one times the inner size. Operands broadcast to y as in torch: a dim that one is stretched along has size 1
    in its result, and an operand of one element has no dims. Raises ShapeError when an operand does not broadcast.
    """
    stretched = [stretch(operand, y.shape) for operand in operands]
    if y.numel == 0:
        return TensorType.dense(y.dtype, (0,)), tuple(TensorType.dense(t.dtype, (0,)) for t in operands)
    dims = merge_dims([y, *stretched])
    sizes = tuple(size for size, _ in dims) or (1,)

    def rebuilt(dtype: str, index: int, single: bool) -> TensorType:
        if single:
            return TensorType.dense(dtype, ())
        strides = tuple(strides[index] for _, strides in dims) or (1,)
        return TensorType(
            dtype, tuple(size if stride else 1 for size, stride in zip(sizes, strides, strict=True)), strides
        )

    return rebuilt(y.dtype, 0, False), tuple(rebuilt(t.dtype, j, t.numel == 1) for j, t in enumerate(operands, 1))


@triton.jit
def pointwise_kernel(
    y_ptr, x_ptr, args,  # x_ptr: the operand of copy, None for a slot's result
    D: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr,  # six dims: rows are D[0] x ... x D[4], then lanes
    Y: tl.constexpr, X: tl.constexpr,  # memory strides of the six
    ROW_Y: tl.constexpr, ROW_X: tl.constexpr,  # stride from row to row, where it is the same for all; else 0
    RANK: tl.constexpr,  # of y, which fills the last dims
    EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_LANES: tl.constexpr,
):  # fmt: skip
    rows = block_offsets(program(0, GRID, WIDE) * BLOCK_ROWS, BLOCK_ROWS, WIDE)
    lanes = block_offsets(program(1, GRID, WIDE) * BLOCK_LANES, BLOCK_LANES, WIDE)[None, :]
    i0, i1 = (rows // (D[1] * D[2] * D[3] * D[4]))[:, None], (rows // (D[2] * D[3] * D[4]) % D[1])[:, None]
    i2, i3, i4 = (rows // (D[3] * D[4]) % D[2])[:, None], (rows // D[4] % D[3])[:, None], (rows % D[4])[:, None]
    mask = (rows < ROWS)[:, None] & (lanes < LANES)
    if x_ptr is None:
        value = tl.zeros((BLOCK_ROWS, BLOCK_LANES), tl.float32)
    else:
        if ROW_X != 0:
            rows_x = (rows * ROW_X)[:, None]
        else:
            rows_x = i0 * X[0] + i1 * X[1] + i2 * X[2] + i3 * X[3] + i4 * X[4]
        value = tl.load(x_ptr + rows_x + lanes * X[5], mask=mask)
    if EPILOGUE is not None:
        if RANK <= 1:
            value = EPILOGUE(value, args, (lanes,), mask)
        elif RANK == 2:
            value = EPILOGUE(value, args, (i4, lanes), mask)
        elif RANK == 3:
            value = EPILOGUE(value, args, (i3, i4, lanes), mask)
        elif RANK == 4:
            value = EPILOGUE(value, args, (i2, i3, i4, lanes), mask)
        elif RANK == 5:
            value = EPILOGUE(value, args, (i1, i2, i3, i4, lanes), mask)
        else:
            value = EPILOGUE(value, args, (i0, i1, i2, i3, i4, lanes), mask)
    if ROW_Y != 0:
        rows_y = (rows * ROW_Y)[:, None]
    else:
        rows_y = i0 * Y[0] + i1 * Y[1] + i2 * Y[2] + i3 * Y[3] + i4 * Y[4]
    tl.store(y_ptr + rows_y + lanes * Y[5], value, mask=mask)


def _launch(y: TensorType, x: TensorType | None, slot: Slot | None, tile: Tile | None, target: Target) -> Launch:
    if y.rank > 6:
        raise UnsupportedError(f"pointwise: y must have at most 6 dims after merging; got {list(y.shape)}")
    lead = (1,) * (6 - y.rank)
    *D, lanes = lead + y.shape
    rows = math.prod(D)
    tile = tile or pick_tile(rows, lanes, target)
    return build(
        pointwise_kernel,
        (ceil_div(rows, tile.BLOCK_ROWS), ceil_div(lanes, tile.BLOCK_LANES)),
        {"y_ptr": y, "x_ptr": x},
        D=tuple(D), ROWS=rows, LANES=lanes, Y=lead + y.strides, X=lead + x.strides if x else None, RANK=y.rank,
        ROW_Y=row_step(y.shape[:-1], y.strides[:-1]), ROW_X=row_step(x.shape[:-1], x.strides[:-1]) if x else 0,
        BLOCK_ROWS=tile.BLOCK_ROWS, BLOCK_LANES=tile.BLOCK_LANES,
        slot=slot,
        flops=y.numel,
        num_warps=tile.num_warps,
    )  # fmt: skip


def pointwise(
    y: TensorType, operands: Sequence[TensorType], slot: Slot, *, tile: Tile | None = None, target: Target
) -> Launch:
    """y = slot's expression; operands are the slot's. The coordinates are y's dims, so flatten before the slot is made.

    Lanes run over y's last dim. Raises UnsupportedError for more than 6 dims.
    """
    if tuple(operands) != slot.operands:
        raise ShapeError(
            f"pointwise: the slot must have the operands {list(map(str, operands))}; got {list(map(str, slot.operands))}"
        )
    return _launch(y, None, slot, tile, target)


def copy(y: TensorType, x: TensorType, *, tile: Tile | None = None, target: Target) -> Launch:
    """y = x, in y's layout and dtype; x broadcasts to y. Raises ShapeError; UnsupportedError for more than 6 merged dims."""
    merged = merge_dims([y, stretch(x, y.shape)]) if y.numel else [(0, [1, 1])]
    if len(merged) > 1 and merged[-1][1][1] != 1:
        # A transposition: lanes run along y, rows as x lies in memory, so that every cache line is read, and written, once.
        merged = [*sorted(merged[:-1], key=lambda dim: -abs(dim[1][1])), merged[-1]]
        tile = tile or (pick_transposed(merged, target) if target.kind == "cpu" else None)
    sizes = tuple(size for size, _ in merged)
    y_merged, x_merged = (TensorType(t.dtype, sizes, tuple(s[j] for _, s in merged)) for j, t in enumerate((y, x)))
    launch = _launch(y_merged, x_merged, None, tile, target)
    return replace(launch, operands=(y, x), nbytes=y.nbytes + x.nbytes)
