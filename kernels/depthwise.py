"""Depthwise convolution (one channel in a group, K/C = M filters on each) and its two gradients, without a matrix product.

y[n,k,p,q] = sum over r,s of x[n, k // M, p*U-PAD_H+r*DIL_H, q*V-PAD_W+s*DIL_W] * w[k,0,r,s], then an epilogue; so in 3 axes.

Method   lanes run over channels, rows over the pixels of one line of the picture; each tap is one multiply-add of a tile. dx:
         the pixels of a line that see the same taps go together (a phase of the stride). dw: a program sums some taps
         over its part of the lines; a second launch adds the parts in fixed order.
Traffic  x (or dy) R*S times, from cache; the result once.
Layout   any strides; fast: activations NHWC, filters R,S,K.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import triton
import triton.language as tl

from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, power_of_2
from tritoncnn.kernels.conv_problem import ConvProblem, volume
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.sum_parts import parts_type, sum_parts
from tritoncnn.kernels.target import Target


class Tile(NamedTuple):
    BLOCK_W: int  # pixels of a line
    BLOCK_C: int
    num_warps: int = 4


PART, MOST_PARTS = 512, 32  # pixels in a part of a filter gradient
MOST_TAPS = 12  # of a filter gradient's program: their sums stay in registers
LINES = 256  # longest piece of a line
MOST_FILTERS = 4  # on one channel; beyond this a product pays


def is_depthwise(problem: ConvProblem) -> bool:
    return problem.C_G == 1 and problem.G > 1 and problem.K_G <= MOST_FILTERS


def pick_tile(Q: int, C: int, target: Target) -> Tile:
    """Tile for rows of Q pixels of C channels: on a CPU one vector of channels, whose filters stay in registers."""
    if target.kind == "cpu":
        return Tile(min(power_of_2(Q), LINES), min(power_of_2(C), 16))
    return Tile(min(power_of_2(Q), 32), min(power_of_2(C), 64))


def pick_split(lines: int, Q: int) -> int:
    """Parts of the filter gradient's sum: some lines of all channels stay in cache. By sizes only, never by threads:
    results keep their bits."""
    return max(min(lines, lines * Q // PART, MOST_PARTS), 1)


@triton.jit
def line_and_lanes(pid, LENGTH: tl.constexpr, CHANNELS: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr,
                   WIDE: tl.constexpr):  # fmt: skip
    """(line, its pixels, channels) of a program; channels go fastest, for their neighbours share cache lines."""
    BLOCKS: tl.constexpr = (CHANNELS + BLOCK_C - 1) // BLOCK_C
    PIECES: tl.constexpr = (LENGTH + BLOCK_W - 1) // BLOCK_W
    lanes = block_offsets(pid % BLOCKS * BLOCK_C, BLOCK_C, WIDE)
    if PIECES == 1:
        return pid // BLOCKS, block_offsets(0, BLOCK_W, WIDE), lanes
    else:
        return pid // (BLOCKS * PIECES), block_offsets(pid // BLOCKS % PIECES * BLOCK_W, BLOCK_W, WIDE), lanes


@triton.jit
def axis_inside(p, r, SIZE: tl.constexpr, OUT: tl.constexpr, TAPS: tl.constexpr, STEP: tl.constexpr, PAD: tl.constexpr,
                DIL: tl.constexpr):  # fmt: skip
    """(pixel of tap r of window p, whether it lies inside), along one axis."""
    h = p * STEP + (r * DIL - PAD)
    if PAD > 0 or (OUT - 1) * STEP + (TAPS - 1) * DIL >= SIZE:
        inside = (h >= 0) & (h < SIZE)
    else:
        inside = h >= 0
    return h, inside


@triton.jit
def first_tap(h, STEP: tl.constexpr, PAD: tl.constexpr, DIL: tl.constexpr):
    """The first tap that sees pixel h, along one axis; of dilated ones, tap 0, and all are tried."""
    return (h + PAD) % STEP if DIL == 1 else 0


@triton.jit
def window_of(h, first, i: tl.constexpr, OUT: tl.constexpr, TAPS: tl.constexpr, STEP: tl.constexpr, PAD: tl.constexpr,
              DIL: tl.constexpr):  # fmt: skip
    """(the i-th tap from the first on that may see pixel h, its window there, whether there is one), along one axis."""
    r = first + i * (STEP if DIL == 1 else 1)
    x = h + PAD - r * DIL
    p = x // STEP
    inside = (x >= 0) & (p < OUT) & (r < TAPS)
    if DIL > 1:
        inside = inside & (p * STEP == x)
    return r, p, inside


@triton.jit
def depthwise_kernel(
    y_ptr, x_ptr, w_ptr, args,
    N: tl.constexpr, C: tl.constexpr, D: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    O: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, G: tl.constexpr,
    STEP: tl.constexpr, PAD: tl.constexpr, DIL: tl.constexpr,
    Y: tl.constexpr, X: tl.constexpr, F: tl.constexpr,  # memory strides: y nkopq, x ncdhw, w kctrs
    RANK: tl.constexpr, EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    line, q, k = line_and_lanes(program(0, GRID, WIDE), Q, K, BLOCK_W, BLOCK_C, WIDE)
    n, o, p = line // (O * P), line // P % O, line % P
    mask_q, mask_k = q < Q, k < K
    c = k // (K // C)
    acc = tl.zeros((BLOCK_W, BLOCK_C), tl.float32)
    for trs in tl.static_range(0, T * R * S):
        t = trs // (R * S)
        r = trs // S % R
        s = trs % S
        d, inside_d = axis_inside(o, t, D, O, T, STEP[0], PAD[0], DIL[0])
        h, inside_h = axis_inside(p, r, H, P, R, STEP[1], PAD[1], DIL[1])
        w, inside_w = axis_inside(q, s, W, Q, S, STEP[2], PAD[2], DIL[2])
        inside = mask_q & inside_d & inside_h & inside_w
        rows = n * X[0] + d * X[2] + h * X[3] + w * X[4]
        x = tl.load(x_ptr + rows[:, None] + (c * X[1])[None, :], mask=inside[:, None] & mask_k[None, :], other=0.0)
        f = tl.load(w_ptr + k * F[0] + (t * F[2] + r * F[3] + s * F[4]), mask=mask_k, other=0.0).to(tl.float32)
        acc += x.to(tl.float32) * f[None, :]
    mask = mask_q[:, None] & mask_k[None, :]
    if EPILOGUE is not None:
        if RANK == 4:
            acc = EPILOGUE(acc, args, (n, k[None, :], p, q[:, None]), mask)
        else:
            acc = EPILOGUE(acc, args, (n, k[None, :], o, p, q[:, None]), mask)
    tl.store(y_ptr + (n * Y[0] + o * Y[2] + p * Y[3] + q * Y[4])[:, None] + (k * Y[1])[None, :], acc, mask=mask)


@triton.jit
def depthwise_dgrad_kernel(
    dx_ptr, dy_ptr, w_ptr, args,
    N: tl.constexpr, C: tl.constexpr, D: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    O: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, G: tl.constexpr,
    STEP: tl.constexpr, PAD: tl.constexpr, DIL: tl.constexpr,
    DX: tl.constexpr, DY: tl.constexpr, F: tl.constexpr,
    RANK: tl.constexpr, EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    M: tl.constexpr = K // C
    V: tl.constexpr = STEP[2]
    PLANES: tl.constexpr = (T + STEP[0] - 1) // STEP[0] if DIL[0] == 1 else T  # of taps, that may see one pixel
    LINES: tl.constexpr = (R + STEP[1] - 1) // STEP[1] if DIL[1] == 1 else R
    UNROLLED: tl.constexpr = STEP[1] if STEP[1] <= 2 and DIL[1] == 1 else 1  # even and odd lines have their own code
    line, j, c = line_and_lanes(program(0, GRID, WIDE), (W + V - 1) // V, C, BLOCK_W, BLOCK_C, WIDE)
    n, d, h = line // (D * H), line // H % D, line % H
    mask_c = c < C
    for phase in tl.static_range(0, UNROLLED * V):
        first = (phase // V + PAD[1]) % STEP[1] if UNROLLED > 1 else 0
        if h % UNROLLED == phase // V:
            w = j * V + phase % V
            mask_w = w < W
            acc = tl.zeros((BLOCK_W, BLOCK_C), tl.float32)
            for irs in tl.static_range(0, PLANES * LINES * S):
                i = irs // S % LINES
                s = irs % S
                from_w = phase % V + PAD[2] - s * DIL[2]
                if from_w % V == 0 and (UNROLLED == 1 or first + i * STEP[1] < R):
                    first_d = first_tap(d, STEP[0], PAD[0], DIL[0])
                    first_h = first if UNROLLED > 1 else first_tap(h, STEP[1], PAD[1], DIL[1])
                    t, o, inside_d = window_of(d, first_d, irs // (LINES * S), O, T, STEP[0], PAD[0], DIL[0])
                    r, p, inside_h = window_of(h, first_h, i, P, R, STEP[1], PAD[1], DIL[1])
                    q = j + from_w // V
                    inside = mask_w & inside_d & inside_h & (q >= 0) & (q < Q)
                    rows = n * DY[0] + o * DY[2] + p * DY[3] + q * DY[4]
                    for m in tl.static_range(0, M):
                        k = c * M + m
                        dy = tl.load(
                            dy_ptr + rows[:, None] + (k * DY[1])[None, :],
                            mask=inside[:, None] & mask_c[None, :],
                            other=0.0,
                        )
                        taps = w_ptr + k * F[0] + (t * F[2] + r * F[3] + s * F[4])
                        f = tl.load(taps, mask=mask_c & (t < T) & (r < R), other=0.0)
                        acc += dy.to(tl.float32) * f.to(tl.float32)[None, :]
            mask = mask_w[:, None] & mask_c[None, :]
            if EPILOGUE is not None:
                if RANK == 4:
                    acc = EPILOGUE(acc, args, (n, c[None, :], h, w[:, None]), mask)
                else:
                    acc = EPILOGUE(acc, args, (n, c[None, :], d, h, w[:, None]), mask)
            rows = n * DX[0] + d * DX[2] + h * DX[3] + w * DX[4]
            tl.store(dx_ptr + rows[:, None] + (c * DX[1])[None, :], acc, mask=mask)


@triton.jit
def depthwise_wgrad_kernel(
    dw_ptr, db_ptr, x_ptr, dy_ptr,  # dw_ptr is the workspace when SPLIT > 1
    N: tl.constexpr, C: tl.constexpr, D: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    O: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, G: tl.constexpr,
    STEP: tl.constexpr, PAD: tl.constexpr, DIL: tl.constexpr,
    DW: tl.constexpr, STRIDE_DB: tl.constexpr, X: tl.constexpr, DY: tl.constexpr,
    BIAS: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr, SPLIT: tl.constexpr, TAPS: tl.constexpr,  # a program's taps
    LINE_SUMS: tl.constexpr,  # sum each line at once, or once at the end, which GPUs do better
):  # fmt: skip
    first, part = program(0, GRID, WIDE) * TAPS, program(2, GRID, WIDE)
    k = block_offsets(program(1, GRID, WIDE) * BLOCK_C, BLOCK_C, WIDE)
    mask_k = k < K
    c = k // (K // C)
    PIECES: tl.constexpr = (Q + BLOCK_W - 1) // BLOCK_W
    LINES: tl.constexpr = N * O * P * PIECES
    STEPS: tl.constexpr = (LINES + SPLIT - 1) // SPLIT
    zero = tl.zeros((BLOCK_C,), tl.float32) if LINE_SUMS else tl.zeros((BLOCK_W, BLOCK_C), tl.float32)
    bias, sums = zero, ()
    for _ in tl.static_range(0, TAPS):
        sums += (zero,)  # type: ignore[assignment]
    for line in range(part * STEPS, tl.minimum(part * STEPS + STEPS, LINES)):
        q = block_offsets(line % PIECES * BLOCK_W, BLOCK_W, WIDE)
        n, o, p = line // (O * P * PIECES), line // (P * PIECES) % O, line // PIECES % P
        mask_q = q < Q
        rows = n * DY[0] + o * DY[2] + p * DY[3] + q * DY[4]
        dy = tl.load(
            dy_ptr + rows[:, None] + (k * DY[1])[None, :], mask=mask_q[:, None] & mask_k[None, :], other=0.0
        ).to(tl.float32)
        if BIAS:
            bias += tl.sum(dy, 0) if LINE_SUMS else dy
        added = ()
        for i in tl.static_range(0, TAPS):
            trs = first + i
            d, inside_d = axis_inside(o, trs // (R * S), D, O, T, STEP[0], PAD[0], DIL[0])
            h, inside_h = axis_inside(p, trs // S % R, H, P, R, STEP[1], PAD[1], DIL[1])
            w, inside_w = axis_inside(q, trs % S, W, Q, S, STEP[2], PAD[2], DIL[2])
            inside = mask_q & inside_d & inside_h & inside_w & (trs < T * R * S)
            rows = n * X[0] + d * X[2] + h * X[3] + w * X[4]
            x = tl.load(x_ptr + rows[:, None] + (c * X[1])[None, :], mask=inside[:, None] & mask_k[None, :], other=0.0)
            product = x.to(tl.float32) * dy
            added += (sums[i] + (tl.sum(product, 0) if LINE_SUMS else product),)  # type: ignore[assignment]
        sums = added
    if SPLIT > 1:
        dw_ptr += part * (T * R * S * K + K * BIAS)
    for i in tl.static_range(0, TAPS):
        trs = first + i
        dw = sums[i] if LINE_SUMS else tl.sum(sums[i], 0)
        mask = mask_k & (trs < T * R * S)
        if SPLIT == 1:
            offs = trs // (R * S) * DW[2] + trs // S % R * DW[3] + trs % S * DW[4]
            tl.store(dw_ptr + offs + k * DW[0], dw, mask=mask)
        else:
            tl.store(dw_ptr + trs * K + k, dw, mask=mask)
    if BIAS:
        db = bias if LINE_SUMS else tl.sum(bias, 0)
        mask = k < tl.where(first == 0, K, 0)  # the first tap's programs write db
        if SPLIT == 1:
            tl.store(db_ptr + k * STRIDE_DB, db, mask=mask)
        else:
            tl.store(dw_ptr + T * R * S * K + k, db, mask=mask)


def depthwise(
    y: TensorType, x: TensorType, w: TensorType, problem: ConvProblem, epilogue: Slot | None, target: Target
) -> Launch:
    """The launch of conv2d for a depthwise problem (already checked)."""
    tile = pick_tile(problem.Q, problem.K, target)
    lines = problem.N * problem.O * problem.P * ceil_div(problem.Q, tile.BLOCK_W)
    return build(
        depthwise_kernel,
        (lines * ceil_div(problem.K, tile.BLOCK_C),),
        {"y_ptr": y, "x_ptr": x, "w_ptr": w},
        **problem._asdict(),
        Y=volume(y).strides, X=volume(x).strides, F=volume(w).strides, RANK=x.rank, BLOCK_W=tile.BLOCK_W,
        BLOCK_C=tile.BLOCK_C,
        slot=epilogue, flops=problem.flops, num_warps=tile.num_warps,
    )  # fmt: skip


def depthwise_dgrad(
    dx: TensorType, dy: TensorType, w: TensorType, problem: ConvProblem, epilogue: Slot | None, target: Target
) -> Launch:
    """The launch of conv2d_dgrad for a depthwise problem (already checked)."""
    phase = ceil_div(problem.W, problem.STEP[2])
    tile = pick_tile(phase, problem.C, target)
    lines = problem.N * problem.D * problem.H * ceil_div(phase, tile.BLOCK_W)
    return build(
        depthwise_dgrad_kernel,
        (lines * ceil_div(problem.C, tile.BLOCK_C),),
        {"dx_ptr": dx, "dy_ptr": dy, "w_ptr": w},
        **problem._asdict(),
        DX=volume(dx).strides, DY=volume(dy).strides, F=volume(w).strides, RANK=dx.rank, BLOCK_W=tile.BLOCK_W,
        BLOCK_C=tile.BLOCK_C,
        slot=epilogue, flops=problem.flops, num_warps=tile.num_warps,
    )  # fmt: skip


def depthwise_wgrad(
    dw: TensorType, db: TensorType | None, x: TensorType, dy: TensorType, problem: ConvProblem, target: Target
) -> tuple[tuple[Launch, ...], TensorType | None]:
    """The launches of conv2d_wgrad for a depthwise problem (already checked), and their workspace."""
    tile = pick_tile(problem.Q, problem.K, target)
    lines, blocks = problem.N * problem.O * problem.P, ceil_div(problem.K, tile.BLOCK_C)
    groups = ceil_div(problem.taps, MOST_TAPS)
    split = pick_split(lines, problem.Q)
    order = (*range(2, dw.rank), 1, 0)
    dw_rsk = TensorType(dw.dtype, tuple(dw.shape[d] for d in order), tuple(dw.strides[d] for d in order))
    parts = parts_type(dw_rsk, db, split) if split > 1 else None
    products = build(
        depthwise_wgrad_kernel,
        (groups, blocks, split),
        {"dw_ptr": parts or dw, "db_ptr": None if parts else db, "x_ptr": x, "dy_ptr": dy},
        **problem._asdict(),
        DW=volume(dw).strides, STRIDE_DB=db.strides[0] if db else 0, X=volume(x).strides, DY=volume(dy).strides,
        BIAS=int(db is not None), BLOCK_W=tile.BLOCK_W,
        BLOCK_C=tile.BLOCK_C, SPLIT=split, TAPS=ceil_div(problem.taps, groups), LINE_SUMS=target.kind == "cpu",
        results=2 if db and not parts else 1, flops=problem.flops, num_warps=tile.num_warps,
    )  # fmt: skip
    if parts is None:
        return (products,), None
    added = sum_parts(dw_rsk, db, parts, target=target)
    return (products, replace(added, operands=(dw, *added.operands[1:]))), parts
