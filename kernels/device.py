"""Device functions that several kernels share."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def program(axis: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr):
    """Index of this program along an axis of the grid: the constant 0 where there is only one; int64 for WIDE offsets.

    The compiler is told the grid, so that masks of sizes that divide evenly fold away.
    """
    if GRID[axis] == 1:
        pid = tl.full((), 0, tl.int32)
    else:
        pid = tl.program_id(axis)
        tl.assume(pid < GRID[axis])
    if WIDE:
        pid = pid.to(tl.int64)
    return pid


@triton.jit
def block_offsets(start, SIZE: tl.constexpr, WIDE: tl.constexpr):
    """start, start + 1, ... start + SIZE - 1."""
    offs = tl.arange(0, SIZE)
    if WIDE:
        offs = offs.to(tl.int64)
    return start + offs


@triton.jit
def larger(a, b):
    """The larger of two values; NaN when one is NaN."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def larger_at(a, i, b, j):
    """The larger value and its place: the first of equals; a NaN, the first one, before all else."""
    same = (b == a) | ((b != b) & (a != a))
    b_wins = (b > a) | ((b != b) & (a == a)) | (same & (j < i))
    return tl.where(b_wins, b, a), tl.where(b_wins, j, i)
