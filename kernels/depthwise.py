"""Depthwise convolution (one channel in a group, K/C = M filters on each) and its two gradients, without a matrix product.

y[n,k,p,q] = sum over r,s of x[n, k // M, p*U-PAD_H+r*DIL_H, q*V-PAD_W+s*DIL_W] * w[k,0,r,s], then an epilogue; so in 3 axes.

Method   lanes run over channels, rows over pixels; each tap is one multiply-add of a tile. dw: a program sums one tap of its
         part of the pixels; a second launch adds the parts in fixed order.
Traffic  x (or dy) R*S times, from cache; the result once.
Layout   any strides; fast: activations NHWC, filters R,S,K.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import triton
import triton.language as tl

from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, check_target, power_of_2, row_block
from tritoncnn.kernels.conv_problem import ConvProblem, volume
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.sum_parts import parts_type, sum_parts


class Tile(NamedTuple):
    BLOCK_ROWS: int
    BLOCK_C: int
    SPLIT: int = 1
    num_warps: int = 4


CPU_PROGRAMS = 16
MOST_FILTERS = 4  # on one channel; beyond this a product pays


def is_depthwise(problem: ConvProblem) -> bool:
    return problem.C_G == 1 and problem.G > 1 and problem.K_G <= MOST_FILTERS


def pick_tile(rows: int, C: int, target: str = "cpu") -> Tile:
    """Tile for so many pixels of C channels."""
    check_target(target)
    block_c = min(power_of_2(C), 64)
    return Tile(row_block(rows, CPU_PROGRAMS, 32, 1, ceil_div(C, block_c)), block_c)


def pick_wgrad_tile(rows: int, K: int, taps: int, target: str = "cpu") -> Tile:
    """The same for the filter gradient. The split depends on sizes only, never on threads: results keep their bits."""
    check_target(target)
    block = min(power_of_2(K), 64)
    wanted = ceil_div(CPU_PROGRAMS, taps * ceil_div(K, block))
    return Tile(16, block, max(min(wanted, rows // 512, 16), 1))


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
def window_of(h, r, OUT: tl.constexpr, STEP: tl.constexpr, PAD: tl.constexpr, DIL: tl.constexpr):
    """(the window whose tap r is pixel h, whether there is one), along one axis."""
    x = h + (PAD - r * DIL)
    p = x // STEP
    inside = (x >= 0) & (p < OUT)
    if STEP > 1:
        inside = inside & (p * STEP == x)
    return p, inside


@triton.jit
def depthwise_kernel(
    y_ptr, x_ptr, w_ptr, args,
    N: tl.constexpr, C: tl.constexpr, D: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    O: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, G: tl.constexpr,
    STEP: tl.constexpr, PAD: tl.constexpr, DIL: tl.constexpr,
    Y: tl.constexpr, X: tl.constexpr, F: tl.constexpr,  # memory strides: y nkopq, x ncdhw, w kctrs
    RANK: tl.constexpr, EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    offs = block_offsets(program(0, GRID, WIDE) * BLOCK_ROWS, BLOCK_ROWS, WIDE)
    n, o, p, q = offs // (O * P * Q), offs // (P * Q) % O, offs // Q % P, offs % Q
    k = block_offsets(program(1, GRID, WIDE) * BLOCK_C, BLOCK_C, WIDE)
    mask_rows, mask_k = offs < N * O * P * Q, k < K
    c = k // (K // C)
    acc = tl.zeros((BLOCK_ROWS, BLOCK_C), tl.float32)
    for trs in tl.static_range(0, T * R * S):
        t = trs // (R * S)
        r = trs // S % R
        s = trs % S
        d, inside_d = axis_inside(o, t, D, O, T, STEP[0], PAD[0], DIL[0])
        h, inside_h = axis_inside(p, r, H, P, R, STEP[1], PAD[1], DIL[1])
        w, inside_w = axis_inside(q, s, W, Q, S, STEP[2], PAD[2], DIL[2])
        inside = mask_rows & inside_d & inside_h & inside_w
        rows = tl.where(inside, n * X[0] + d * X[2] + h * X[3] + w * X[4], 0)
        x = tl.load(x_ptr + rows[:, None] + (c * X[1])[None, :], mask=inside[:, None] & mask_k[None, :], other=0.0).to(
            tl.float32
        )
        f = tl.load(w_ptr + k * F[0] + (t * F[2] + r * F[3] + s * F[4]), mask=mask_k, other=0.0).to(tl.float32)
        acc += x * f[None, :]
    mask = mask_rows[:, None] & mask_k[None, :]
    if EPILOGUE is not None:
        if RANK == 4:
            acc = EPILOGUE(acc, args, (n[:, None], k[None, :], p[:, None], q[:, None]), mask)
        else:
            acc = EPILOGUE(acc, args, (n[:, None], k[None, :], o[:, None], p[:, None], q[:, None]), mask)
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
    BLOCK_ROWS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    M: tl.constexpr = K // C
    offs = block_offsets(program(0, GRID, WIDE) * BLOCK_ROWS, BLOCK_ROWS, WIDE)
    n, d, h, w = offs // (D * H * W), offs // (H * W) % D, offs // W % H, offs % W
    c = block_offsets(program(1, GRID, WIDE) * BLOCK_C, BLOCK_C, WIDE)
    mask_rows, mask_c = offs < N * D * H * W, c < C
    acc = tl.zeros((BLOCK_ROWS, BLOCK_C), tl.float32)
    for trs in tl.static_range(0, T * R * S):
        t = trs // (R * S)
        r = trs // S % R
        s = trs % S
        o, inside_d = window_of(d, t, O, STEP[0], PAD[0], DIL[0])
        p, inside_h = window_of(h, r, P, STEP[1], PAD[1], DIL[1])
        q, inside_w = window_of(w, s, Q, STEP[2], PAD[2], DIL[2])
        inside = mask_rows & inside_d & inside_h & inside_w
        rows = tl.where(inside, n * DY[0] + o * DY[2] + p * DY[3] + q * DY[4], 0)
        for m in tl.static_range(0, M):
            dy = tl.load(
                dy_ptr + rows[:, None] + ((c * M + m) * DY[1])[None, :],
                mask=inside[:, None] & mask_c[None, :],
                other=0.0,
            ).to(tl.float32)
            offs_f = (c * M + m) * F[0] + (t * F[2] + r * F[3] + s * F[4])
            acc += dy * tl.load(w_ptr + offs_f, mask=mask_c, other=0.0).to(tl.float32)[None, :]
    mask = mask_rows[:, None] & mask_c[None, :]
    if EPILOGUE is not None:
        if RANK == 4:
            acc = EPILOGUE(acc, args, (n[:, None], c[None, :], h[:, None], w[:, None]), mask)
        else:
            acc = EPILOGUE(acc, args, (n[:, None], c[None, :], d[:, None], h[:, None], w[:, None]), mask)
    tl.store(dx_ptr + (n * DX[0] + d * DX[2] + h * DX[3] + w * DX[4])[:, None] + (c * DX[1])[None, :], acc, mask=mask)


@triton.jit
def depthwise_wgrad_kernel(
    dw_ptr, db_ptr, x_ptr, dy_ptr,  # dw_ptr is the workspace when SPLIT > 1
    N: tl.constexpr, C: tl.constexpr, D: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    O: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, G: tl.constexpr,
    STEP: tl.constexpr, PAD: tl.constexpr, DIL: tl.constexpr,
    DW: tl.constexpr, STRIDE_DB: tl.constexpr, X: tl.constexpr, DY: tl.constexpr,
    BIAS: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_C: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    NPQ: tl.constexpr = N * O * P * Q
    tap, part = program(0, GRID, WIDE), program(2, GRID, WIDE)
    t, r, s = tap // (R * S), tap // S % R, tap % S
    k = block_offsets(program(1, GRID, WIDE) * BLOCK_C, BLOCK_C, WIDE)
    mask_k = k < K
    c = k // (K // C)
    STEPS: tl.constexpr = ((NPQ + BLOCK_ROWS - 1) // BLOCK_ROWS + SPLIT - 1) // SPLIT
    if SPLIT == 1:
        first = 0
    else:
        first = part * (STEPS * BLOCK_ROWS)
    acc = tl.zeros((BLOCK_ROWS, BLOCK_C), tl.float32)
    sums = tl.zeros((BLOCK_ROWS, BLOCK_C), tl.float32)
    for step in range(0, STEPS):
        offs = block_offsets(first + step * BLOCK_ROWS, BLOCK_ROWS, WIDE)
        n, o, p, q = offs // (O * P * Q), offs // (P * Q) % O, offs // Q % P, offs % Q
        mask_rows = offs < NPQ
        d, inside_d = axis_inside(o, t, D, O, T, STEP[0], PAD[0], DIL[0])
        h, inside_h = axis_inside(p, r, H, P, R, STEP[1], PAD[1], DIL[1])
        w, inside_w = axis_inside(q, s, W, Q, S, STEP[2], PAD[2], DIL[2])
        inside = mask_rows & inside_d & inside_h & inside_w
        rows = tl.where(inside, n * X[0] + d * X[2] + h * X[3] + w * X[4], 0)
        x = tl.load(x_ptr + rows[:, None] + (c * X[1])[None, :], mask=inside[:, None] & mask_k[None, :], other=0.0)
        rows_dy = n * DY[0] + o * DY[2] + p * DY[3] + q * DY[4]
        dy = tl.load(
            dy_ptr + rows_dy[:, None] + (k * DY[1])[None, :], mask=mask_rows[:, None] & mask_k[None, :], other=0.0
        ).to(tl.float32)
        acc += x.to(tl.float32) * dy
        if BIAS:
            sums += dy
    mask_db = k < tl.where(tap == 0, K, 0)  # the first tap's programs write db
    if SPLIT == 1:
        tl.store(dw_ptr + k * DW[0] + (t * DW[2] + r * DW[3] + s * DW[4]), tl.sum(acc, 0), mask=mask_k)
        if BIAS:
            tl.store(db_ptr + k * STRIDE_DB, tl.sum(sums, 0), mask=mask_db)
    else:
        dw_ptr += part * (T * R * S * K + K * BIAS)
        tl.store(dw_ptr + tap * K + k, tl.sum(acc, 0), mask=mask_k)
        if BIAS:
            tl.store(dw_ptr + T * R * S * K + k, tl.sum(sums, 0), mask=mask_db)


def depthwise(
    y: TensorType, x: TensorType, w: TensorType, problem: ConvProblem, epilogue: Slot | None, target: str
) -> Launch:
    """The launch of conv2d for a depthwise problem (already checked)."""
    tile = pick_tile(problem.pixels, problem.K, target)
    return build(
        depthwise_kernel,
        (ceil_div(problem.pixels, tile.BLOCK_ROWS), ceil_div(problem.K, tile.BLOCK_C)),
        {"y_ptr": y, "x_ptr": x, "w_ptr": w},
        **problem._asdict(),
        Y=volume(y).strides, X=volume(x).strides, F=volume(w).strides, RANK=x.rank, BLOCK_ROWS=tile.BLOCK_ROWS,
        BLOCK_C=tile.BLOCK_C, slot=epilogue, flops=problem.flops, num_warps=tile.num_warps,
    )  # fmt: skip


def depthwise_dgrad(
    dx: TensorType, dy: TensorType, w: TensorType, problem: ConvProblem, epilogue: Slot | None, target: str
) -> Launch:
    """The launch of conv2d_dgrad for a depthwise problem (already checked)."""
    rows = problem.N * problem.D * problem.H * problem.W
    tile = pick_tile(rows, problem.C, target)
    return build(
        depthwise_dgrad_kernel,
        (ceil_div(rows, tile.BLOCK_ROWS), ceil_div(problem.C, tile.BLOCK_C)),
        {"dx_ptr": dx, "dy_ptr": dy, "w_ptr": w},
        **problem._asdict(),
        DX=volume(dx).strides, DY=volume(dy).strides, F=volume(w).strides, RANK=dx.rank, BLOCK_ROWS=tile.BLOCK_ROWS,
        BLOCK_C=tile.BLOCK_C, slot=epilogue, flops=problem.flops, num_warps=tile.num_warps,
    )  # fmt: skip


def depthwise_wgrad(
    dw: TensorType, db: TensorType | None, x: TensorType, dy: TensorType, problem: ConvProblem, target: str
) -> tuple[tuple[Launch, ...], TensorType | None]:
    """The launches of conv2d_wgrad for a depthwise problem (already checked), and their workspace."""
    tile = pick_wgrad_tile(problem.pixels, problem.K, problem.taps, target)
    order = (*range(2, dw.rank), 1, 0)
    dw_rsk = TensorType(dw.dtype, tuple(dw.shape[d] for d in order), tuple(dw.strides[d] for d in order))
    parts = parts_type(dw_rsk, db, tile.SPLIT) if tile.SPLIT > 1 else None
    products = build(
        depthwise_wgrad_kernel,
        (problem.taps, ceil_div(problem.K, tile.BLOCK_C), tile.SPLIT),
        {"dw_ptr": parts or dw, "db_ptr": None if parts else db, "x_ptr": x, "dy_ptr": dy},
        **problem._asdict(),
        DW=volume(dw).strides, STRIDE_DB=db.strides[0] if db else 0, X=volume(x).strides, DY=volume(dy).strides,
        BIAS=int(db is not None), BLOCK_ROWS=tile.BLOCK_ROWS, BLOCK_C=tile.BLOCK_C, SPLIT=tile.SPLIT,
        results=2 if db and not parts else 1, flops=problem.flops, num_warps=tile.num_warps,
    )  # fmt: skip
    if parts is None:
        return (products,), None
    added = sum_parts(dw_rsk, db, parts, target=target)
    return (products, replace(added, operands=(dw, *added.operands[1:]))), parts
