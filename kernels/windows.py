"""Sliding windows, shared by pools and their gradients: tiles, sizes, checks, and which taps reach a pixel."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import triton
import triton.language as tl

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import (
    ceil_div,
    check_positive,
    check_rank,
    check_shape,
    power_of_2,
    row_block,
)
from tritoncnn.kernels.target import Target

Pair = tuple[int, int]


class Tile(NamedTuple):
    BLOCK_PIXELS: int
    BLOCK_C: int
    num_warps: int = 4


CPU_PROGRAMS = 8
UNROLL_TAPS = 25  # the taps of larger windows run in a loop


def pick_tile(pixels: int, C: int, channels_last: bool, target: Target) -> Tile:
    """Tile for so many pixels of C channels. Lanes run over channels when these are contiguous, else over pixels."""
    block_c = min(power_of_2(C), 64) if channels_last else 1
    if target.kind != "cpu":
        return Tile(max(1024 // block_c, 1), block_c, 4)
    return Tile(row_block(pixels, CPU_PROGRAMS, 4096 // block_c, 16, ceil_div(C, block_c)), block_c)


def pool_size(op: str, H: int, R: int, U: int, PAD: int, DIL: int, ceil_mode: bool) -> int:
    """Windows along one axis, by torch's rule: with ``ceil_mode`` a last window may hang over the end, yet no window
    starts in the padding after the input. Raises ShapeError when no window fits, padding passes half a window, or the taps of
    a window at the start fall beside the input (torch answers -inf there, and its gradient reads elsewhere).
    """
    if 2 * PAD > R:
        raise ShapeError(f"{op}: padding must be at most half of kernel_size {R}; got {PAD}")
    room = H + 2 * PAD - DIL * (R - 1) - 1
    size = (ceil_div(room, U) if ceil_mode else room // U) + 1
    if ceil_mode and (size - 1) * U >= H + PAD:
        size -= 1
    if size < 1:
        raise ShapeError(
            f"{op}: kernel_size {R} with dilation {DIL} must fit into the padded input; got {H + 2 * PAD} pixels"
        )
    # A window that starts before the input has its first tap inside, if any, at start mod DIL.
    if any((p * U - PAD) % DIL >= H for p in range(min(size, ceil_div(PAD, U)))):
        raise ShapeError(
            f"{op}: every window must have a tap in the input; kernel_size {R} with dilation {DIL} and padding {PAD} "
            f"passes by {H} pixels"
        )
    return size


@triton.jit
def pixel_of(offs, H: tl.constexpr, W: tl.constexpr):
    return offs // (H * W), offs // W % H, offs % W


@triton.jit
def count_taps(p, H: tl.constexpr, R: tl.constexpr, U: tl.constexpr, PAD: tl.constexpr, INCLUDE_PAD: tl.constexpr):
    """Taps of window p that count along one axis."""
    start = p * U - PAD
    if INCLUDE_PAD:
        taps = tl.minimum(start + R, H + PAD) - start
    else:
        taps = tl.minimum(start + R, H) - tl.maximum(start, 0)
    return taps


def tap_steps(R: int, U: int, DIL: int) -> tuple[int, int, int]:
    """(step, inverse, most): the taps r < R with h + PAD - r * DIL divisible by U, for a row h of the image.

    With g = gcd(U, DIL) there are some only if g divides h + PAD. The first is ((h + PAD) / g * inverse) mod step, the
    others follow at distances of step = U / g, at most ``most`` in all.
    """
    g = math.gcd(U, DIL)
    step = U // g
    return step, pow(DIL // g, -1, step) if step > 1 else 0, -(-R // step)


def window_constants(
    op: str,
    y: TensorType,
    x: TensorType,
    window: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool | None,
) -> dict[str, Any]:
    """Checks the shapes; the kernels' constants. ``ceil_mode`` None: y may be of either."""
    check_rank(op, 4, y=y, x=x)
    (N, C, H, W), (P, Q) = x.shape, y.shape[2:]
    (R, S), (U, V), (PAD_H, PAD_W), (DIL_H, DIL_W) = window, stride, padding, dilation
    check_positive(op, R=R, S=S, U=U, V=V, DIL_H=DIL_H, DIL_W=DIL_W, H=H, W=W)
    if PAD_H < 0 or PAD_W < 0:
        raise ShapeError(f"{op}: padding must not be negative; got {list(padding)}")

    def pooled(mode: bool) -> tuple[int, ...]:
        return N, C, pool_size(op, H, R, U, PAD_H, DIL_H, mode), pool_size(op, W, S, V, PAD_W, DIL_W, mode)

    # With ceil_mode windows fit wherever they do without it, so it is asked first.
    wanted = pooled(ceil_mode is not False)
    if ceil_mode is None and y.shape != wanted:
        wanted = pooled(False)
    if y.shape != wanted:
        raise ShapeError(f"{op}: the pooled tensor must be {list(wanted)}, from {list(x.shape)}; got {list(y.shape)}")
    return {
        "N": N, "C": C, "H": H, "W": W, "P": P, "Q": Q, "R": R, "S": S, "U": U, "V": V,
        "PAD_H": PAD_H, "PAD_W": PAD_W, "DIL_H": DIL_H, "DIL_W": DIL_W,
    }  # fmt: skip


def check_index(op: str, index: TensorType, y: TensorType, window: Pair) -> None:
    check_shape(op, "index", index, y.shape, "one tap per pooled value")
    wanted = "u8" if window[0] * window[1] <= 255 else "i32"
    if index.dtype != wanted:
        raise DTypeError(f"{op}: index must be {wanted} for a window of {window[0]} x {window[1]}; got {index.dtype}")
