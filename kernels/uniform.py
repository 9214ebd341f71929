"""uniform: y[i] = a number in [0, 1) from the seed and FIRST + i alone, by Philox 4x32-10: the same for any tile and thread.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; tl.rand.
Data     the seed (one i64) is read from memory.
Tile     one program makes BLOCK numbers.
Traffic  y once.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, row_block
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch


@triton.jit
def uniform_kernel(
    y_ptr, seed_ptr, NUMEL: tl.constexpr, FIRST: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    offs = block_offsets(program(0, GRID, WIDE) * BLOCK, BLOCK, WIDE)
    tl.store(y_ptr + offs, tl.rand(tl.load(seed_ptr), FIRST + offs), mask=offs < NUMEL)


def uniform(y: TensorType, seed: TensorType, first: int = 0) -> Launch:
    """y [n] f32 from a seed [] i64, its ``first`` number and those after it; fewer than 2**31 in all.

    Raises ShapeError, DTypeError.
    """
    if y.rank != 1 or seed.numel != 1 or first < 0 or first + y.numel >= 2**31 - 2**22:
        raise ShapeError(
            f"uniform: y must be one line, seed one number, and a seed gives less than 2**31 numbers; got {y.shape}, "
            f"{seed.shape}, from number {first} on"
        )
    if y.dtype != "f32" or seed.dtype != "i64":
        raise DTypeError(f"uniform: y must be f32 and seed i64; got {y.dtype} and {seed.dtype}")
    block = row_block(y.numel, 8, 2048, 64)
    return build(
        uniform_kernel,
        (ceil_div(y.numel, block),),
        {"y_ptr": y, "seed_ptr": seed},
        NUMEL=y.numel,
        FIRST=first,
        BLOCK=block,
    )


def uniform_torch(seed: torch.Tensor, count: int, first: int = 0) -> torch.Tensor:
    """What uniform means, in numpy."""
    low = np.uint64(0xFFFFFFFF)
    word = np.uint64(int(seed) & (2**64 - 1))
    keys = [word & low, word >> np.uint64(32)]
    c = [np.arange(first, first + count, dtype=np.uint64), *(np.zeros(count, dtype=np.uint64) for _ in range(3))]
    A, B, shift = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57), np.uint64(32)
    for _ in range(10):
        first, second = c[0] * A, c[2] * B
        c = [(second >> shift) ^ c[1] ^ keys[0], second & low, (first >> shift) ^ c[3] ^ keys[1], first & low]
        keys = [(keys[0] + np.uint64(0x9E3779B9)) & low, (keys[1] + np.uint64(0xBB67AE85)) & low]
    signed = c[0].astype(np.uint32).view(np.int32)
    positive = np.where(signed < 0, -signed - 1, signed)
    return torch.from_numpy(positive.astype(np.float32) * np.float32(4.6566127342e-10))
