"""sum_parts: y = epilogue(sum over s of part[s]), the second pass of a reduction that was split for parallelism.

Order    s = 0, 1, 2, ...: the same bits on every run and for any number of threads.
Tile     one program makes BLOCK elements.
Traffic  4 * SPLIT bytes read and one element written each.
Layout   a part holds y's elements in row-major order, then the elements of the optional second result ``sums``.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

from tritoncnn.errors import ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, check_floats, power_of_2, row_block
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.target import Target

UNROLLED = 32  # up to so many parts are written out one by one


class Tile(NamedTuple):
    BLOCK: int
    num_warps: int = 4


def pick_tile(size: int, target: Target) -> Tile:
    """Tile for ``size`` elements."""
    return Tile(row_block(size, 8, 1024, 64)) if target.kind == "cpu" else Tile(min(power_of_2(size), 256), 4)


@triton.jit
def sum_parts_kernel(
    y_ptr, sums_ptr, part_ptr, args,
    D: tl.constexpr,  # y's sizes, filled up to five with ones at the end
    NUMEL: tl.constexpr, LENGTH: tl.constexpr, SPLIT: tl.constexpr,  # elements of y and of a part; number of parts
    Y: tl.constexpr, STRIDE_SUMS: tl.constexpr, DENSE: tl.constexpr,  # memory strides; y lies in row-major order
    UNROLL: tl.constexpr, EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    offs = block_offsets(program(0, GRID, WIDE) * BLOCK, BLOCK, WIDE)
    mask = offs < LENGTH
    acc = tl.load(part_ptr + offs, mask=mask, other=0.0)
    if UNROLL:
        for s in tl.static_range(1, SPLIT):
            acc += tl.load(part_ptr + s * LENGTH + offs, mask=mask, other=0.0)
    else:
        for s in range(1, SPLIT):
            acc += tl.load(part_ptr + s * LENGTH + offs, mask=mask, other=0.0)

    if sums_ptr is not None:
        tl.store(sums_ptr + (offs - NUMEL) * STRIDE_SUMS, acc, mask=mask & (offs >= NUMEL))
    mask_y = offs < NUMEL
    i0, i1 = offs // (D[1] * D[2] * D[3] * D[4]), offs // (D[2] * D[3] * D[4]) % D[1]
    i2, i3, i4 = offs // (D[3] * D[4]) % D[2], offs // D[4] % D[3], offs % D[4]
    if EPILOGUE is not None:
        acc = EPILOGUE(acc, args, (i0, i1, i2, i3, i4), mask_y)
    if DENSE:
        tl.store(y_ptr + offs, acc, mask=mask_y)
    else:
        tl.store(y_ptr + (i0 * Y[0] + i1 * Y[1] + i2 * Y[2] + i3 * Y[3] + i4 * Y[4]), acc, mask=mask_y)


def parts_type(y: TensorType, sums: TensorType | None, split: int) -> TensorType:
    """The workspace: ``split`` parts of y's (and sums') elements in f32."""
    return TensorType.dense("f32", (split, y.numel + (sums.numel if sums else 0)))


def sum_parts(
    y: TensorType,
    sums: TensorType | None,
    parts: TensorType,
    *,
    epilogue: Slot | None = None,
    tile: Tile | None = None,
    target: Target,
) -> Launch:
    """y (at most 5 dims) and sums (1 dim, may be None) = sum over the rows of parts; see ``parts_type``.

    The epilogue applies to y; its coordinates are y's, with the missing ones 0 at the end. Raises ShapeError, DTypeError.
    """
    check_floats("sum_parts", y=y, sums=sums)
    if y.rank > 5 or parts != parts_type(y, sums, parts.shape[0]) or (sums is not None and sums.rank != 1):
        raise ShapeError(
            f"sum_parts: parts must be {parts_type(y, sums, parts.shape[0])} and y have at most 5 dims; got {parts}, {y}"
        )
    missing = 5 - y.rank
    shape, strides = y.shape + (1,) * missing, y.strides + (0,) * missing
    length = parts.shape[1]
    tile = tile or pick_tile(length, target)
    return build(
        sum_parts_kernel,
        (ceil_div(length, tile.BLOCK),),
        {"y_ptr": y, "sums_ptr": sums, "part_ptr": parts},
        D=shape, NUMEL=y.numel, LENGTH=length, SPLIT=parts.shape[0], Y=strides,
        STRIDE_SUMS=sums.strides[0] if sums else 0, DENSE=y.is_row_major, UNROLL=parts.shape[0] <= UNROLLED,
        slot=epilogue,
        results=1 if sums is None else 2,
        flops=parts.numel,
        **tile._asdict(),
    )  # fmt: skip
