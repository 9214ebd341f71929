"""max_pool2d, avg_pool2d: y[n,c,p,q] = max or mean over r,s of x[n,c, p*U-PAD_H+r*DIL_H, q*V-PAD_W+s*DIL_W].

Max      taps outside x count as -inf; the index, if asked for, is r*S + s of the first tap inside x that holds the
         maximum; a NaN is larger than all else, and of several the last wins, as in torch. u8, or i32 for windows of more
         than 255 taps.
Mean     over the taps in the padded image, or only over those in x (count_include_pad=False).
Tile     one program makes BLOCK_PIXELS pixels (of all images) of BLOCK_C channels.
Traffic  x read R*S / (U*V) times from cache, y and the index written once.
Layout   any strides; fast: NHWC.
The gradients, in ``pool_grad.py``, are taken from here too.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, check_floats
from tritoncnn.kernels.device import block_offsets, larger, program
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.pool_grad import avg_pool2d_grad, max_pool2d_grad
from tritoncnn.kernels.target import Target
from tritoncnn.kernels.windows import (
    UNROLL_TAPS,
    Pair,
    Tile,
    check_index,
    count_taps,
    pick_tile,
    pixel_of,
    window_constants,
)

__all__ = ["avg_pool2d", "avg_pool2d_grad", "avg_pool2d_torch", "max_pool2d", "max_pool2d_grad", "max_pool2d_torch"]


@triton.jit
def _take_tap(
    acc, index, x_ptr, base, p, q, offs_c, mask_npq, mask_c, r, s,
    H: tl.constexpr, W: tl.constexpr, S: tl.constexpr, U: tl.constexpr, V: tl.constexpr,
    PAD_H: tl.constexpr, PAD_W: tl.constexpr, DIL_H: tl.constexpr, DIL_W: tl.constexpr, X: tl.constexpr,
    INSIDE: tl.constexpr, MAX: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """Tap (r, s) of every window joins the maximum or the sum so far."""
    inside = mask_npq
    rows = base + (r * (DIL_H * X[2]) + s * (DIL_W * X[3]))
    if not INSIDE:
        h, w = p * U + (r * DIL_H - PAD_H), q * V + (s * DIL_W - PAD_W)
        inside = inside & (h >= 0) & (h < H) & (w >= 0) & (w < W)
        rows = tl.where(inside, rows, 0)
    x = tl.load(
        x_ptr + rows[:, None] + (offs_c * X[1])[None, :],
        mask=inside[:, None] & mask_c[None, :],
        other=float("-inf") if MAX else 0.0,
    ).to(tl.float32)
    if not MAX:
        acc += x
    elif not INDEX:
        acc = larger(acc, x)
    else:
        wins = inside[:, None] & ((index < 0) | (x > acc) | (x != x))
        acc = tl.where(wins, x, acc)
        index = tl.where(wins, r * S + s, index)
    return acc, index


@triton.jit
def pool2d_kernel(
    y_ptr, i_ptr, x_ptr, args,
    N: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, P: tl.constexpr, Q: tl.constexpr,
    R: tl.constexpr, S: tl.constexpr, U: tl.constexpr, V: tl.constexpr,
    PAD_H: tl.constexpr, PAD_W: tl.constexpr, DIL_H: tl.constexpr, DIL_W: tl.constexpr,
    Y: tl.constexpr, I: tl.constexpr, X: tl.constexpr,  # memory strides
    MAX: tl.constexpr, INCLUDE_PAD: tl.constexpr, UNROLL: tl.constexpr,
    EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK_PIXELS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    # Which pixels of y, which channels.
    offs = block_offsets(program(0, GRID, WIDE) * BLOCK_PIXELS, BLOCK_PIXELS, WIDE)
    n, p, q = pixel_of(offs, P, Q)
    mask_npq = offs < N * P * Q
    offs_c = block_offsets(program(1, GRID, WIDE) * BLOCK_C, BLOCK_C, WIDE)
    mask_c = offs_c < C
    mask = mask_npq[:, None] & mask_c[None, :]

    # Tap by tap.
    base = n * X[0] + (p * U - PAD_H) * X[2] + (q * V - PAD_W) * X[3]
    acc = tl.full((BLOCK_PIXELS, BLOCK_C), float("-inf") if MAX else 0.0, tl.float32)
    index = tl.full((BLOCK_PIXELS, BLOCK_C), -1, tl.int32)
    INSIDE: tl.constexpr = (
        PAD_H == 0 and PAD_W == 0 and (P - 1) * U + (R - 1) * DIL_H < H and (Q - 1) * V + (S - 1) * DIL_W < W
    )
    if UNROLL:
        for tap in tl.static_range(R * S):
            acc, index = _take_tap(acc, index, x_ptr, base, p, q, offs_c, mask_npq, mask_c, tap // S, tap % S, H, W, S,
                                   U, V, PAD_H, PAD_W, DIL_H, DIL_W, X, INSIDE, MAX, i_ptr is not None)  # fmt: skip
    else:
        for tap in range(0, R * S):
            acc, index = _take_tap(acc, index, x_ptr, base, p, q, offs_c, mask_npq, mask_c, tap // S, tap % S, H, W, S,
                                   U, V, PAD_H, PAD_W, DIL_H, DIL_W, X, INSIDE, MAX, i_ptr is not None)  # fmt: skip
    if not MAX:
        area = count_taps(p, H, R, U, PAD_H, INCLUDE_PAD) * count_taps(q, W, S, V, PAD_W, INCLUDE_PAD)
        acc = acc / area.to(tl.float32)[:, None]

    if EPILOGUE is not None:
        acc = EPILOGUE(acc, args, (n[:, None], offs_c[None, :], p[:, None], q[:, None]), mask)
    y_ptr += (n * Y[0] + p * Y[2] + q * Y[3])[:, None] + (offs_c * Y[1])[None, :]
    tl.store(y_ptr, acc, mask=mask)
    if i_ptr is not None:  # addressed as y is, so that one loop on a CPU writes both
        i_ptr += (n * I[0] + p * I[2] + q * I[3])[:, None] + (offs_c * I[1])[None, :]
        index = tl.maximum(index, 0)  # 0: no tap inside x
        tl.store(i_ptr, index.to(i_ptr.dtype.element_ty), mask=mask)


def _forward(
    y: TensorType, index: TensorType | None, x: TensorType, constants: dict[str, Any], most: bool, include_pad: bool,
    epilogue: Slot | None, tile: Tile | None, target: Target,
) -> Launch:  # fmt: skip
    N, C, P, Q = y.shape
    tile = tile or pick_tile(N * P * Q, C, x.strides[1] == 1, target)
    return build(
        pool2d_kernel,
        (ceil_div(N * P * Q, tile.BLOCK_PIXELS), ceil_div(C, tile.BLOCK_C)),
        {"y_ptr": y, "i_ptr": index, "x_ptr": x},
        **constants, Y=y.strides, I=index.strides if index else None, X=x.strides, MAX=most,
        INCLUDE_PAD=include_pad, UNROLL=constants["R"] * constants["S"] <= UNROLL_TAPS,
        slot=epilogue,
        results=1 if index is None else 2,
        flops=y.numel * constants["R"] * constants["S"],
        **tile._asdict(),
    )  # fmt: skip


def max_pool2d(
    y: TensorType, index: TensorType | None, x: TensorType, *, window: Pair, stride: Pair, padding: Pair = (0, 0),
    dilation: Pair = (1, 1), ceil_mode: bool = False, epilogue: Slot | None = None, tile: Tile | None = None,
    target: Target,
) -> Launch:  # fmt: skip
    """y, index [N,C,P,Q] = max_pool2d(x [N,C,H,W]); index may be None. Raises ShapeError, DTypeError."""
    constants = window_constants("max_pool2d", y, x, window, stride, padding, dilation, ceil_mode)
    check_floats("max_pool2d", y=y, x=x)
    if index is not None:
        check_index("max_pool2d", index, y, window)
    return _forward(y, index, x, constants, True, True, epilogue, tile, target)


def avg_pool2d(
    y: TensorType, x: TensorType, *, window: Pair, stride: Pair, padding: Pair = (0, 0), ceil_mode: bool = False,
    count_include_pad: bool = True, epilogue: Slot | None = None, tile: Tile | None = None, target: Target,
) -> Launch:  # fmt: skip
    """y [N,C,P,Q] = avg_pool2d(x [N,C,H,W]). Raises ShapeError, DTypeError."""
    constants = window_constants("avg_pool2d", y, x, window, stride, padding, (1, 1), ceil_mode)
    check_floats("avg_pool2d", y=y, x=x)
    return _forward(y, None, x, constants, False, count_include_pad, epilogue, tile, target)


def max_pool2d_torch(
    x: torch.Tensor,
    *,
    window: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    ceil_mode: bool = False,
) -> torch.Tensor:
    """What max_pool2d means, in plain torch."""
    return torch.nn.functional.max_pool2d(x, window, stride, padding, dilation, ceil_mode)


def avg_pool2d_torch(
    x: torch.Tensor, *, window: Pair, stride: Pair, padding: Pair = (0, 0), ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> torch.Tensor:  # fmt: skip
    """What avg_pool2d means, in plain torch."""
    return torch.nn.functional.avg_pool2d(x, window, stride, padding, ceil_mode, count_include_pad)
