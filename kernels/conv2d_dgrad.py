"""conv2d_dgrad: dx[n,c,h,w] = sum over k, r, s of dy[n,k,p,q] * w[k,c,r,s],
where p*U = h + PAD_H - r*DIL_H and q*V = w + PAD_W - s*DIL_W; taps without such p and q in dy add nothing.

Method   implicit GEMM: rows are pixels of dx, columns channels, reduced over taps and filters. A step U > 1 splits the
         pixels by phase (h mod U, w mod V): all pixels of a phase are reached by the same taps, so no zeros are multiplied.
         One phase per program of the third grid axis; its taps are r = first, first + step, ...: ``tap_steps``.
Tile     one program makes BLOCK_NHW pixels of one phase and BLOCK_C channels, in steps of BLOCK_K filters.
Traffic  dy R*S / (U*V) times from cache, w once per block of pixels, dx once.
Layout   any strides; fast: dx and dy NHWC, w with channels innermost (RSKC).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch.nn.grad import conv2d_input

from tritoncnn.errors import DTypeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import (
    build,
    ceil_div,
    check_floats,
    check_rank,
    check_shape,
    check_target,
    gpu_tile,
    power_of_2,
    row_block,
)
from tritoncnn.kernels.conv_problem import conv_problem
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.windows import tap_steps


class Tile(NamedTuple):
    BLOCK_NHW: int
    BLOCK_C: int
    BLOCK_K: int
    num_warps: int = 4
    num_stages: int = 2


GPU_TILES = (
    Tile(128, 128, 32, 4, 3), Tile(128, 64, 32, 4, 3), Tile(64, 64, 32, 4, 3), Tile(64, 32, 32, 4, 3), Tile(32, 16, 32, 2, 3),
)  # fmt: skip
CPU_PROGRAMS = 16


def pick_tile(rows: int, C: int, K: int, phases: int = 1, target: str = "cpu") -> Tile:
    """Tile for so many pixels of a phase, C channels, a reduction over K filters a tap."""
    check_target(target)
    if target != "cpu":
        return gpu_tile(GPU_TILES, rows, C, phases)
    block_c = min(power_of_2(C), 64)
    block_nhw = row_block(rows, CPU_PROGRAMS, 256, 16, phases * ceil_div(C, block_c))
    return Tile(block_nhw, block_c, min(power_of_2(K), 256))


@triton.jit
def conv2d_dgrad_kernel(
    dx_ptr, dy_ptr, w_ptr, args,
    N: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, R: tl.constexpr, S: tl.constexpr, P: tl.constexpr, Q: tl.constexpr,
    U: tl.constexpr, V: tl.constexpr, PAD_H: tl.constexpr, PAD_W: tl.constexpr, DIL_H: tl.constexpr, DIL_W: tl.constexpr,
    TAPS_H: tl.constexpr, TAPS_W: tl.constexpr,  # (step, inverse, most) of each axis: see tap_steps
    DX: tl.constexpr, DY: tl.constexpr, F: tl.constexpr,  # memory strides: dx nchw, dy nkpq, w kcrs
    EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_NHW: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    # Which phase, which of its pixels, which channels. Phases have equal numbers of rows: some lie outside the image.
    HH: tl.constexpr = (H + U - 1) // U
    WW: tl.constexpr = (W + V - 1) // V
    phase_h, phase_w = tl.program_id(2) // V, tl.program_id(2) % V
    offs = block_offsets(program(0, GRID, WIDE) * BLOCK_NHW, BLOCK_NHW, WIDE)
    # Pixels go by h first, then by picture: neighbours in a tile share their taps.
    ROW: tl.constexpr = WW * (N if N > 0 else 1)
    n = offs // WW % (ROW // WW)
    h = offs // ROW * U + phase_h
    w = offs % WW * V + phase_w
    mask_nhw = offs < N * HH * WW
    if H % U != 0:
        mask_nhw = mask_nhw & (h < H)
    if W % V != 0:
        mask_nhw = mask_nhw & (w < W)
    offs_c = block_offsets(program(1, GRID, WIDE) * BLOCK_C, BLOCK_C, WIDE)
    mask_c = offs_c < C

    # The phase's taps: r0, r0 + step, ... below R; none when gcd(U, DIL_H) does not divide phase + PAD_H.
    GCD_H: tl.constexpr = U // TAPS_H[0]
    GCD_W: tl.constexpr = V // TAPS_W[0]
    r0 = (phase_h + PAD_H) // GCD_H * TAPS_H[1] % TAPS_H[0]
    s0 = (phase_w + PAD_W) // GCD_W * TAPS_W[1] % TAPS_W[0]
    first, last = 0, TAPS_H[2]
    if U == 1:
        # The block's rows lie between two h: taps that put all of them outside dy are left out.
        h_low = program(0, GRID, WIDE) * BLOCK_NHW // ROW
        h_high = (program(0, GRID, WIDE) * BLOCK_NHW + BLOCK_NHW - 1) // ROW
        first = tl.maximum(h_low + PAD_H - (P - 1) + DIL_H - 1, 0) // DIL_H
        last = tl.minimum((h_high + PAD_H) // DIL_H + 1, R)
    acc = tl.zeros((BLOCK_NHW, BLOCK_C), tl.float32)
    for rs in range(first * TAPS_W[2], last * TAPS_W[2]):
        r = r0 + rs // TAPS_W[2] * TAPS_H[0]
        s = s0 + rs % TAPS_W[2] * TAPS_W[0]
        pU, qV = h + (PAD_H - r * DIL_H), w + (PAD_W - s * DIL_W)
        p, q = pU // U, qV // V
        P_END, Q_END = P, Q  # a tap beyond the filter reaches nothing
        if TAPS_H[0] > 1:
            P_END = tl.where(r < R, P, 0)
        if TAPS_W[0] > 1:
            Q_END = tl.where(s < S, Q, 0)
        inside = mask_nhw & (pU >= 0) & (p < P_END) & (qV >= 0) & (q < Q_END)
        if GCD_H > 1:
            inside = inside & (p * U == pU)
        if GCD_W > 1:
            inside = inside & (q * V == qV)
        # Offsets of masked-off rows and taps are clamped: a negative one can fault under an asynchronous copy.
        rows = tl.where(inside, n * DY[0] + p * DY[2] + q * DY[3], 0)
        tap = tl.minimum(r, R - 1) * F[2] + tl.minimum(s, S - 1) * F[3]
        for k0 in range(0, K, BLOCK_K):
            k = block_offsets(k0, BLOCK_K, WIDE)
            mask_k = k < K
            dy = tl.load(
                dy_ptr + rows[:, None] + (k * DY[1])[None, :], mask=inside[:, None] & mask_k[None, :], other=0.0
            )
            f = tl.load(
                w_ptr + (k * F[0] + tap)[:, None] + (offs_c * F[1])[None, :],
                mask=mask_k[:, None] & mask_c[None, :],
                other=0.0,
            )
            acc = tl.dot(dy, f, acc, input_precision="ieee")

    mask = mask_nhw[:, None] & mask_c[None, :]
    if EPILOGUE is not None:
        acc = EPILOGUE(acc, args, (n[:, None], offs_c[None, :], h[:, None], w[:, None]), mask)
    tl.store(dx_ptr + (n * DX[0] + h * DX[2] + w * DX[3])[:, None] + (offs_c * DX[1])[None, :], acc, mask=mask)


def conv2d_dgrad(
    dx: TensorType,
    dy: TensorType,
    w: TensorType,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    epilogue: Slot | None = None,
    tile: Tile | None = None,
    target: str = "cpu",
) -> Launch:
    """dx [N,C,H,W] = epilogue(gradient of conv2d(x, w [K,C,R,S]) for x, given dy [N,K,P,Q]).

    The epilogue's coordinates are n, c, h, w. Raises ShapeError, DTypeError; UnsupportedError for groups.
    """
    check_rank("conv2d_dgrad", 4, dx=dx, dy=dy, w=w)
    check_floats("conv2d_dgrad", dx=dx, dy=dy, w=w)
    if w.dtype != dy.dtype:
        raise DTypeError(f"conv2d_dgrad: w must be {dy.dtype}, as dy is; got {w.dtype}")
    problem = conv_problem("conv2d_dgrad", dx, w, ("dx", "w"), stride, padding, dilation, groups)
    N, C, H, W, K, R, S, P, Q, U, V, _, _, DIL_H, DIL_W = problem
    check_shape("conv2d_dgrad", "dy", dy, (N, K, P, Q), f"from dx {list(dx.shape)} and w {list(w.shape)}")

    rows = N * ceil_div(H, U) * ceil_div(W, V)
    tile = tile or pick_tile(rows, C, K, U * V, target)
    return build(
        conv2d_dgrad_kernel,
        (ceil_div(rows, tile.BLOCK_NHW), ceil_div(C, tile.BLOCK_C), U * V),
        {"dx_ptr": dx, "dy_ptr": dy, "w_ptr": w},
        **problem._asdict(),
        TAPS_H=tap_steps(R, U, DIL_H), TAPS_W=tap_steps(S, V, DIL_W), DX=dx.strides, DY=dy.strides, F=w.strides,
        BLOCK_NHW=tile.BLOCK_NHW, BLOCK_C=tile.BLOCK_C, BLOCK_K=tile.BLOCK_K,
        slot=epilogue,
        flops=problem.flops,
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )  # fmt: skip


def conv2d_dgrad_torch(
    dy: torch.Tensor,
    w: torch.Tensor,
    input_shape: tuple[int, ...],
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
) -> torch.Tensor:
    """What conv2d_dgrad means (without an epilogue), in plain torch."""
    return conv2d_input(list(input_shape), w, dy, stride, padding, dilation)
