"""moments: mean and (biased) variance per channel, from what each block of a producer's tile found of its own rows.

A producer writes, for each block of rows and each channel, the mean of the block's values and the sum of the squares of
their distances from it: nothing cancels, as it does in E[x^2] - E[x]^2. The mean is found from distances too, those of the
blocks' means from the first: that of equal values is exactly theirs.
Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance".

Order    block 0, 1, 2, ...: the same bits on every run and for any number of threads.
Sizes    are data, so that one kernel serves all.
Tile     one program makes BLOCK channels.
Traffic  8 bytes per block and channel, twice; the results once.
Layout   parts [blocks, 2, channels], row-major.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tritoncnn.errors import ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, check_floats, check_shape
from tritoncnn.kernels.device import block_offsets
from tritoncnn.kernels.launch import Launch

BLOCK = 64


@triton.jit
def moments_kernel(
    mean_ptr, var_ptr, part_ptr, size_ptr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    ROWS, BLOCK_ROWS, CHANNELS = tl.load(size_ptr), tl.load(size_ptr + 1), tl.load(size_ptr + 2)
    c = block_offsets(tl.program_id(0) * BLOCK, BLOCK, WIDE)
    mask = c < CHANNELS
    BLOCKS = (ROWS + BLOCK_ROWS - 1) // BLOCK_ROWS
    first = tl.load(part_ptr + c, mask=mask, other=0.0)
    first = tl.where(tl.abs(first) < float("inf"), first, 0.0)  # infinity minus infinity would be NaN
    total = tl.zeros((BLOCK,), tl.float32)
    for i in range(0, BLOCKS):
        rows = tl.minimum(ROWS - i * BLOCK_ROWS, BLOCK_ROWS).to(tl.float32)
        total += (tl.load(part_ptr + i * (2 * CHANNELS) + c, mask=mask, other=0.0) - first) * rows
    mean = first + total / ROWS
    squares = tl.zeros((BLOCK,), tl.float32)
    for i in range(0, BLOCKS):
        rows = tl.minimum(ROWS - i * BLOCK_ROWS, BLOCK_ROWS).to(tl.float32)
        far = tl.load(part_ptr + i * (2 * CHANNELS) + c, mask=mask, other=0.0) - mean
        squares += tl.load(part_ptr + (i * 2 + 1) * CHANNELS + c, mask=mask, other=0.0) + far * far * rows
    tl.store(mean_ptr + c, mean, mask=mask)
    tl.store(var_ptr + c, squares / ROWS, mask=mask)


def parts_of_blocks(rows: int, block_rows: int, channels: int) -> TensorType:
    """What a producer writes."""
    return TensorType.dense("f32", (ceil_div(rows, block_rows), 2, channels))


def moments(
    mean: TensorType, var: TensorType, parts: TensorType, sizes: TensorType, rows: int, block_rows: int
) -> Launch:
    """mean, var [channels] of ``rows`` rows from ``parts`` over blocks of ``block_rows``.

    ``sizes`` i64[3] holds rows, rows of a block and channels. Raises ShapeError, DTypeError.
    """
    check_floats("moments", mean=mean, var=var, parts=parts)
    channels = mean.numel
    check_shape("moments", "parts", parts, parts_of_blocks(rows, block_rows, channels).shape, f"for {rows} rows")
    if sizes != TensorType.dense("i64", (3,)):
        raise ShapeError(f"moments: sizes must be i64[3], rows, rows of a block, channels; got {sizes}")
    return build(
        moments_kernel,
        (ceil_div(channels, BLOCK),),
        {"mean_ptr": mean, "var_ptr": var, "part_ptr": parts, "size_ptr": sizes},
        BLOCK=BLOCK,
        results=2, flops=6 * parts.numel,
    )  # fmt: skip
