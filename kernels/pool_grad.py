"""max_pool2d_grad, avg_pool2d_grad: dx[n,c,h,w] = sum over the windows (p,q) that cover the pixel of their dy, or share of dy.

Max      dy goes to the tap that the index names; one outside x is dropped.
Mean     each pixel under a window gets dy / count; count as in ``pool.py``.
Gather   each pixel of dx looks up the windows that cover it: no atomics, the same bits on every run. Taps r that can reach
         row h have r = first(h) + j * step with step = U / gcd(U, DIL_H): ``tap_steps``.
Tile     one program makes BLOCK_PIXELS pixels (of all images) of BLOCK_C channels.
Traffic  dx written once, dy and the index read R*S / (U*V) times from cache.
Layout   any strides; fast: NHWC.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, check_floats
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.target import Target
from tritoncnn.kernels.windows import (
    UNROLL_TAPS,
    Pair,
    Tile,
    check_index,
    count_taps,
    pick_tile,
    pixel_of,
    tap_steps,
    window_constants,
)


@triton.jit
def _gather_tap(
    acc, dy_ptr, i_ptr, n, h, w, offs_c, mask_nhw, mask_c, r, s,
    H: tl.constexpr, W: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    U: tl.constexpr, V: tl.constexpr, PAD_H: tl.constexpr, PAD_W: tl.constexpr, DIL_H: tl.constexpr, DIL_W: tl.constexpr,
    DY: tl.constexpr, I: tl.constexpr, INCLUDE_PAD: tl.constexpr,
):  # fmt: skip
    """acc + what each pixel gets from the window that it is tap (r, s) of, if there is one."""
    pU, qV = h + PAD_H - r * DIL_H, w + PAD_W - s * DIL_W
    p, q = pU // U, qV // V
    inside = mask_nhw
    if not (
        H == P * R and W == Q * S and U == R and V == S and PAD_H == 0 and PAD_W == 0 and DIL_H == 1 and DIL_W == 1
    ):
        # Windows that do not tile the image: this pixel may be tap (r, s) of none.
        inside = inside & (r < R) & (s < S) & (pU >= 0) & (qV >= 0) & (p < P) & (q < Q)
        # With a common divisor of step and tap spacing, pixels between are not reached.
        inside = inside & (p * U == pU) & (q * V == qV)
    mask = inside[:, None] & mask_c[None, :]
    rows = tl.where(inside, n * DY[0] + p * DY[2] + q * DY[3], 0)
    dy = tl.load(dy_ptr + rows[:, None] + (offs_c * DY[1])[None, :], mask=mask, other=0.0).to(tl.float32)
    if i_ptr is None:
        area = count_taps(p, H, R, U, PAD_H, INCLUDE_PAD) * count_taps(q, W, S, V, PAD_W, INCLUDE_PAD)
        acc += dy / tl.where(inside, area, 1).to(tl.float32)[:, None]
    else:
        rows = tl.where(inside, n * I[0] + p * I[2] + q * I[3], 0)
        won = tl.load(i_ptr + rows[:, None] + (offs_c * I[1])[None, :], mask=mask, other=0).to(tl.int32)
        acc += tl.where(won == (r * S + s).to(tl.int32)[:, None], dy, 0.0)
    return acc


@triton.jit
def pool2d_grad_kernel(
    dx_ptr, dy_ptr, i_ptr, args,
    N: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, P: tl.constexpr, Q: tl.constexpr,
    R: tl.constexpr, S: tl.constexpr, U: tl.constexpr, V: tl.constexpr,
    PAD_H: tl.constexpr, PAD_W: tl.constexpr, DIL_H: tl.constexpr, DIL_W: tl.constexpr,
    TAPS_H: tl.constexpr, TAPS_W: tl.constexpr,  # (step, inverse, most) of each axis: see tap_steps
    DX: tl.constexpr, DY: tl.constexpr, I: tl.constexpr,  # memory strides
    INCLUDE_PAD: tl.constexpr, UNROLL: tl.constexpr,
    EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK_PIXELS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    # Which pixels of dx, which channels.
    offs = block_offsets(program(0, GRID, WIDE) * BLOCK_PIXELS, BLOCK_PIXELS, WIDE)
    n, h, w = pixel_of(offs, H, W)
    mask_nhw = offs < N * H * W
    offs_c = block_offsets(program(1, GRID, WIDE) * BLOCK_C, BLOCK_C, WIDE)
    mask_c = offs_c < C
    mask = mask_nhw[:, None] & mask_c[None, :]

    # The first tap that reaches the pixel's row and column; the others follow at fixed steps.
    r0 = (h + PAD_H) // (U // TAPS_H[0]) * TAPS_H[1] % TAPS_H[0]
    s0 = (w + PAD_W) // (V // TAPS_W[0]) * TAPS_W[1] % TAPS_W[0]
    acc = tl.zeros((BLOCK_PIXELS, BLOCK_C), tl.float32)
    if UNROLL:
        for tap in tl.static_range(TAPS_H[2] * TAPS_W[2]):
            r, s = r0 + tap // TAPS_W[2] * TAPS_H[0], s0 + tap % TAPS_W[2] * TAPS_W[0]
            acc = _gather_tap(acc, dy_ptr, i_ptr, n, h, w, offs_c, mask_nhw, mask_c, r, s, H, W, P, Q, R, S, U, V,
                              PAD_H, PAD_W, DIL_H, DIL_W, DY, I, INCLUDE_PAD)  # fmt: skip
    else:
        for tap in range(0, TAPS_H[2] * TAPS_W[2]):
            r, s = r0 + tap // TAPS_W[2] * TAPS_H[0], s0 + tap % TAPS_W[2] * TAPS_W[0]
            acc = _gather_tap(acc, dy_ptr, i_ptr, n, h, w, offs_c, mask_nhw, mask_c, r, s, H, W, P, Q, R, S, U, V,
                              PAD_H, PAD_W, DIL_H, DIL_W, DY, I, INCLUDE_PAD)  # fmt: skip
    if EPILOGUE is not None:
        acc = EPILOGUE(acc, args, (n[:, None], offs_c[None, :], h[:, None], w[:, None]), mask)
    tl.store(dx_ptr + (n * DX[0] + h * DX[2] + w * DX[3])[:, None] + (offs_c * DX[1])[None, :], acc, mask=mask)


def _backward(
    dx: TensorType, dy: TensorType, index: TensorType | None, constants: dict[str, Any], include_pad: bool,
    epilogue: Slot | None, tile: Tile | None, target: Target,
) -> Launch:  # fmt: skip
    N, C, H, W = dx.shape
    tile = tile or pick_tile(N * H * W, C, dx.strides[1] == 1, target)
    taps_h = tap_steps(constants["R"], constants["U"], constants["DIL_H"])
    taps_w = tap_steps(constants["S"], constants["V"], constants["DIL_W"])
    return build(
        pool2d_grad_kernel,
        (ceil_div(N * H * W, tile.BLOCK_PIXELS), ceil_div(C, tile.BLOCK_C)),
        {"dx_ptr": dx, "dy_ptr": dy, "i_ptr": index},
        **constants, TAPS_H=taps_h, TAPS_W=taps_w, DX=dx.strides, DY=dy.strides,
        I=index.strides if index else None, INCLUDE_PAD=include_pad, UNROLL=taps_h[2] * taps_w[2] <= UNROLL_TAPS,
        slot=epilogue,
        flops=dx.numel * taps_h[2] * taps_w[2],
        **tile._asdict(),
    )  # fmt: skip


def max_pool2d_grad(
    dx: TensorType, dy: TensorType, index: TensorType, *, window: Pair, stride: Pair, padding: Pair = (0, 0),
    dilation: Pair = (1, 1), epilogue: Slot | None = None, tile: Tile | None = None, target: Target,
) -> Launch:  # fmt: skip
    """dx [N,C,H,W] = sum of the dy [N,C,P,Q] of the windows whose index names the pixel."""
    constants = window_constants("max_pool2d_grad", dy, dx, window, stride, padding, dilation, None)
    check_floats("max_pool2d_grad", dx=dx, dy=dy)
    check_index("max_pool2d_grad", index, dy, window)
    return _backward(dx, dy, index, constants, True, epilogue, tile, target)


def avg_pool2d_grad(
    dx: TensorType, dy: TensorType, *, window: Pair, stride: Pair, padding: Pair = (0, 0), ceil_mode: bool = False,
    count_include_pad: bool = True, epilogue: Slot | None = None, tile: Tile | None = None, target: Target,
) -> Launch:  # fmt: skip
    """dx [N,C,H,W] = the gradient of avg_pool2d for dy [N,C,P,Q]. Raises ShapeError, DTypeError."""
    constants = window_constants("avg_pool2d_grad", dy, dx, window, stride, padding, (1, 1), ceil_mode)
    check_floats("avg_pool2d_grad", dx=dx, dy=dy)
    return _backward(dx, dy, None, constants, count_include_pad, epilogue, tile, target)


def max_pool2d_grad_torch(
    dy: torch.Tensor, index: torch.Tensor, input_shape: tuple[int, ...], *, window: Pair, stride: Pair,
    padding: Pair = (0, 0), dilation: Pair = (1, 1),
) -> torch.Tensor:  # fmt: skip
    """What max_pool2d_grad means, in plain torch: scatter into an image whose last pixel catches the taps outside."""
    (N, C, H, W), taps = input_shape, index.long()
    h = torch.arange(dy.shape[2])[:, None] * stride[0] + taps // window[1] * dilation[0] - padding[0]
    w = torch.arange(dy.shape[3]) * stride[1] + taps % window[1] * dilation[1] - padding[1]
    place = torch.where((h >= 0) & (h < H) & (w >= 0) & (w < W), h * W + w, H * W)
    dx = dy.new_zeros(N, C, H * W + 1)
    return dx.scatter_add(2, place.flatten(2), dy.flatten(2))[..., :-1].reshape(input_shape)
