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

import triton
import triton.language as tl

from tritoncnn.errors import DTypeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import (
    build,
    ceil_div,
    check_floats,
    check_shape,
    gpu_tile,
    power_of_2,
    reduction_step,
    row_block,
)
from tritoncnn.kernels.conv_problem import Ints, conv_problem, volume
from tritoncnn.kernels.depthwise import depthwise_dgrad, is_depthwise
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.target import Target
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
CPU_PROGRAMS = 8
WHOLE_K = 256  # most filters taken in one piece on a CPU


def pick_tile(rows: int, C: int, K: int, phases: int, target: Target, dtype: str = "f32") -> Tile:
    """Tile for so many pixels of a phase, C channels, a reduction over K filters a tap."""
    if target.kind != "cpu":
        return gpu_tile(GPU_TILES, rows, C, dtype, phases)
    # With few filters dy is little work for each time it is read: many channels at once.
    block_c = min(power_of_2(C), 64 if K > 64 else 256)
    block_nhw = row_block(rows, CPU_PROGRAMS, min(32768 // block_c, 256), 16, phases * ceil_div(C, block_c))
    return Tile(block_nhw, block_c, reduction_step(K, WHOLE_K))


@triton.jit
def first_tap(phase, PAD: tl.constexpr, STEP: tl.constexpr, TAPS: tl.constexpr):
    """The first tap that reaches the pixels of a phase: see ``tap_steps``."""
    return (phase + PAD) // (STEP // TAPS[0]) * TAPS[1] % TAPS[0]


@triton.jit
def count_taps(first, R: tl.constexpr, TAPS: tl.constexpr):
    """How many of the taps first, first + step, ... a filter of R has."""
    if TAPS[0] == 1:
        count = R
    else:
        count = (R - first + (TAPS[0] - 1)) // TAPS[0]
    return count


@triton.jit
def reaches(x, SIZE: tl.constexpr, STEP: tl.constexpr, TAPS: tl.constexpr):
    """Whether there is a window at x / STEP, along one axis: x = h + PAD - r * DIL for tap r."""
    p = x // STEP
    inside = (x >= 0) & (p < SIZE)
    if TAPS[0] < STEP:  # gcd(STEP, DIL) > 1: the phase may have no taps at all
        inside = inside & (p * STEP == x)
    return inside


@triton.jit
def conv2d_dgrad_kernel(
    dx_ptr, dy_ptr, w_ptr, args,
    N: tl.constexpr, C: tl.constexpr, D: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    O: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, G: tl.constexpr,
    STEP: tl.constexpr, PAD: tl.constexpr, DIL: tl.constexpr,  # by axis: d, h, w
    TAPS_D: tl.constexpr, TAPS_H: tl.constexpr, TAPS_W: tl.constexpr,  # (step, inverse, most) of each axis: see tap_steps
    DX: tl.constexpr, DY: tl.constexpr, F: tl.constexpr,  # memory strides: dx ncdhw, dy nkopq, w kctrs
    RANK: tl.constexpr, EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_NHW: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    # Which phase, which of its pixels, which channels. Phases have equal numbers of rows: some lie outside the image.
    DD: tl.constexpr = (D + STEP[0] - 1) // STEP[0]
    HH: tl.constexpr = (H + STEP[1] - 1) // STEP[1]
    WW: tl.constexpr = (W + STEP[2] - 1) // STEP[2]
    CG: tl.constexpr = C // G
    KG: tl.constexpr = K // G
    phase = program(2, GRID, WIDE)
    phase_d, phase_h, phase_w = phase // (STEP[1] * STEP[2]), phase // STEP[2] % STEP[1], phase % STEP[2]
    start = program(0, GRID, WIDE) * BLOCK_NHW
    offs = block_offsets(start, BLOCK_NHW, WIDE)
    # Pixels go by h first, then by picture: neighbours in a tile share their taps.
    ROW: tl.constexpr = WW * (N if N > 0 else 1)
    n = offs // WW % (ROW // WW)
    d = offs // (ROW * HH) * STEP[0] + phase_d
    h = (offs // ROW if D == 1 else offs // ROW % HH) * STEP[1] + phase_h
    w = offs % WW * STEP[2] + phase_w
    mask_nhw = offs < N * DD * HH * WW
    if D % STEP[0] != 0:
        mask_nhw = mask_nhw & (d < D)
    if H % STEP[1] != 0:
        mask_nhw = mask_nhw & (h < H)
    if W % STEP[2] != 0:
        mask_nhw = mask_nhw & (w < W)
    pid_c = program(1, GRID, WIDE)
    BLOCKS: tl.constexpr = (CG + BLOCK_C - 1) // BLOCK_C  # of a group's channels
    if G == 1:
        group = tl.full((), 0, tl.int32)
        offs_cg = block_offsets(pid_c * BLOCK_C, BLOCK_C, WIDE)
    else:
        group = pid_c // BLOCKS
        offs_cg = block_offsets(pid_c % BLOCKS * BLOCK_C, BLOCK_C, WIDE)
    mask_c = offs_cg < CG
    offs_c = offs_cg + group * CG

    # The phase's taps: r0, r0 + step, ... below R; none when gcd(STEP, DIL) does not divide phase + PAD.
    t0 = first_tap(phase_d, PAD[0], STEP[0], TAPS_D)
    r0 = first_tap(phase_h, PAD[1], STEP[1], TAPS_H)
    s0 = first_tap(phase_w, PAD[2], STEP[2], TAPS_W)
    nt, nr, ns = count_taps(t0, T, TAPS_D), count_taps(r0, R, TAPS_H), count_taps(s0, S, TAPS_W)
    first, last = 0, nt * nr
    if D == 1 and T == 1 and STEP[0] == 1 and STEP[1] == 1:
        # The block's rows lie between two h: taps that put all of them outside dy are left out.
        h_low, h_high = start // ROW, (start + BLOCK_NHW - 1) // ROW
        first = tl.maximum(h_low + PAD[1] - (P - 1) + DIL[1] - 1, 0) // DIL[1]
        last = tl.minimum((h_high + PAD[1]) // DIL[1] + 1, R)
    acc = tl.zeros((BLOCK_NHW, BLOCK_C), tl.float32)
    for trs in range(first * ns, last * ns):
        t = t0 + trs // (nr * ns) * TAPS_D[0]
        r = r0 + (trs // ns if T == 1 else trs // ns % nr) * TAPS_H[0]
        s = s0 + trs % ns * TAPS_W[0]
        inside = mask_nhw
        if D > 1 or T > 1 or O > 1:
            inside = inside & reaches(d + (PAD[0] - t * DIL[0]), O, STEP[0], TAPS_D)
        pU, qV = h + (PAD[1] - r * DIL[1]), w + (PAD[2] - s * DIL[2])
        inside = inside & reaches(pU, P, STEP[1], TAPS_H) & reaches(qV, Q, STEP[2], TAPS_W)
        # Offsets of masked-off rows are clamped: a negative one can fault under an asynchronous copy.
        offs_dy = n * DY[0] + pU // STEP[1] * DY[3] + qV // STEP[2] * DY[4] + group * (KG * DY[1])
        tap = r * F[3] + s * F[4] + group * (KG * F[0])
        if D > 1 or T > 1 or O > 1:
            offs_dy += (d + (PAD[0] - t * DIL[0])) // STEP[0] * DY[2]
            tap += t * F[2]
        rows = tl.where(inside, offs_dy, 0)
        for k0 in range(0, KG, BLOCK_K):
            k = block_offsets(k0, BLOCK_K, WIDE)
            mask_k = k < KG
            dy = tl.load(
                dy_ptr + rows[:, None] + (k * DY[1])[None, :], mask=inside[:, None] & mask_k[None, :], other=0.0
            )
            f = tl.load(
                w_ptr + (k * F[0] + tap)[:, None] + (offs_cg * F[1])[None, :],
                mask=mask_k[:, None] & mask_c[None, :],
                other=0.0,
            )
            acc = tl.dot(dy, f, acc, input_precision="ieee")

    mask = mask_nhw[:, None] & mask_c[None, :]
    if EPILOGUE is not None:
        if RANK == 4:
            acc = EPILOGUE(acc, args, (n[:, None], offs_c[None, :], h[:, None], w[:, None]), mask)
        else:
            acc = EPILOGUE(acc, args, (n[:, None], offs_c[None, :], d[:, None], h[:, None], w[:, None]), mask)
    offs_dx = n * DX[0] + d * DX[2] + h * DX[3] + w * DX[4]
    tl.store(dx_ptr + offs_dx[:, None] + (offs_c * DX[1])[None, :], acc, mask=mask)


def conv2d_dgrad(
    dx: TensorType,
    dy: TensorType,
    w: TensorType,
    *,
    stride: Ints = (1, 1),
    padding: Ints = (0, 0),
    dilation: Ints = (1, 1),
    groups: int = 1,
    epilogue: Slot | None = None,
    tile: Tile | None = None,
    target: Target,
) -> Launch:
    """dx [N,C,H,W] = epilogue(gradient of conv2d(x, w [K,C/groups,R,S]) for x, given dy [N,K,P,Q]); or all in 3 dims.

    The epilogue's coordinates are n, c, (d,) h, w. Raises ShapeError, DTypeError.
    """
    check_floats("conv2d_dgrad", dx=dx, dy=dy, w=w)
    if w.dtype != dy.dtype:
        raise DTypeError(f"conv2d_dgrad: w must be {dy.dtype}, as dy is; got {w.dtype}")
    problem = conv_problem("conv2d_dgrad", dx, w, ("dx", "w"), stride, padding, dilation, groups)
    N, O, P, Q, STEP, DIL = problem.N, problem.O, problem.P, problem.Q, problem.STEP, problem.DIL
    depth = (O,) if dx.rank == 5 else ()
    check_shape(
        "conv2d_dgrad", "dy", dy, (N, problem.K, *depth, P, Q), f"from dx {list(dx.shape)} and w {list(w.shape)}"
    )

    if is_depthwise(problem) and tile is None:
        return depthwise_dgrad(dx, dy, w, problem, epilogue, target)
    phases = STEP[0] * STEP[1] * STEP[2]
    rows = N * ceil_div(problem.D, STEP[0]) * ceil_div(problem.H, STEP[1]) * ceil_div(problem.W, STEP[2])
    tile = tile or pick_tile(rows, problem.C_G, problem.K_G, phases * groups, target, dy.dtype)
    return build(
        conv2d_dgrad_kernel,
        (ceil_div(rows, tile.BLOCK_NHW), groups * ceil_div(problem.C_G, tile.BLOCK_C), phases),
        {"dx_ptr": dx, "dy_ptr": dy, "w_ptr": w},
        **problem._asdict(),
        TAPS_D=tap_steps(problem.T, STEP[0], DIL[0]), TAPS_H=tap_steps(problem.R, STEP[1], DIL[1]),
        TAPS_W=tap_steps(problem.S, STEP[2], DIL[2]),
        DX=volume(dx).strides, DY=volume(dy).strides, F=volume(w).strides, RANK=dx.rank,
        slot=epilogue,
        flops=problem.flops,
        **tile._asdict(),
    )  # fmt: skip
