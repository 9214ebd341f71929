"""conv2d: y[n,k,p,q] = sum over c,r,s of x[n,c, p*U-PAD_H+r*DIL_H, q*V-PAD_W+s*DIL_W] * w[k,c,r,s], then an epilogue.

Method   implicit GEMM: NPQ rows times K columns, reduced over CRS. x is never copied: the address of an element is
         base(row) + offset(crs). Where no tap leaves the image the reduction runs over all of CRS in one go (``FLAT``); else
         tap by tap, and rows whose tap lies in the padding read 0.
Pooling  optional max over windows of y that do not overlap (step = window, no padding): rows are ordered window by window,
         so the rows of one window are neighbours in the tile. Emits the pooled y and, if asked, which tap won. A window
         takes a power of two of rows (WINDOW): those past its POOL_H * POOL_W taps are wasted.
Tile     one program makes BLOCK_NPQ rows of BLOCK_K filters.
Traffic  x once per block of filters, w once per block of rows, y once (a POOL_H*POOL_W-th of it when pooled).
Layout   any strides; fast: x and y NHWC, w RSCK (filters innermost).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from tritoncnn.errors import DTypeError, ShapeError, UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import (
    build,
    ceil_div,
    check_floats,
    check_positive,
    check_rank,
    check_shape,
    check_target,
    gpu_tile,
    power_of_2,
    row_block,
)
from tritoncnn.kernels.conv_problem import conv_problem
from tritoncnn.kernels.device import block_offsets, larger, larger_at, program
from tritoncnn.kernels.launch import Launch, Slot


class Tile(NamedTuple):
    BLOCK_NPQ: int
    BLOCK_K: int
    BLOCK_CRS: int
    num_warps: int = 4
    num_stages: int = 2


# GPU tiles, widest first; the CPU's follow from the sizes. At most 4 warps: some Triton versions miscompile wider convs.
GPU_TILES = (
    Tile(128, 128, 32, 4, 3), Tile(128, 64, 32, 4, 3), Tile(64, 64, 32, 4, 3), Tile(64, 32, 32, 4, 3), Tile(32, 16, 32, 2, 3),
)  # fmt: skip
CPU_PROGRAMS = 16  # enough for an even spread over a few cores
CPU_PROGRAMS_SMALL = 4  # below SMALL_FLOPS a program's own cost counts
SMALL_FLOPS = 2_000_000
WHOLE_CRS = 512  # longest reduction taken in one piece on a CPU


def is_flat(C: int, CRS: int, padded: bool) -> bool:
    """Whether to reduce over CRS as one axis: no tap leaves the image, and channels alone are too few or CRS is short."""
    return not padded and (CRS <= WHOLE_CRS or C < 16)


def pick_tile(NPQ: int, K: int, C: int, CRS: int, flat: bool, window: int = 1, target: str = "cpu") -> Tile:
    """Tile for NPQ rows, K filters, a reduction of CRS; ``window`` rows are pooled into one."""
    check_target(target)
    if target != "cpu":
        return gpu_tile(GPU_TILES, NPQ, K)
    block_k = min(power_of_2(K), 64)
    programs = CPU_PROGRAMS if 2 * NPQ * K * CRS > SMALL_FLOPS else CPU_PROGRAMS_SMALL
    rows = row_block(NPQ, programs, min(16384 // block_k, 512), max(16, window), ceil_div(K, block_k))
    length = (power_of_2(CRS) if CRS <= WHOLE_CRS else 256) if flat else min(power_of_2(C), 256)
    return Tile(rows, block_k, length)


@triton.jit
def conv2d_kernel(
    y_ptr, i_ptr, x_ptr, w_ptr, args,  # results first, then operands; args belongs to the epilogue
    N: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, R: tl.constexpr, S: tl.constexpr, P: tl.constexpr, Q: tl.constexpr,
    U: tl.constexpr, V: tl.constexpr, PAD_H: tl.constexpr, PAD_W: tl.constexpr, DIL_H: tl.constexpr, DIL_W: tl.constexpr,
    POOL_H: tl.constexpr, POOL_W: tl.constexpr, WINDOW: tl.constexpr,  # pooling window and its rows: all 1 without
    Y: tl.constexpr, I: tl.constexpr, X: tl.constexpr, F: tl.constexpr,  # memory strides: y, i: nkpq; x: nchw; w: kcrs
    FLAT: tl.constexpr, EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_NPQ: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_CRS: tl.constexpr,
):  # fmt: skip
    # Which rows (pixels of y, window by window), which filters.
    PP: tl.constexpr = P // POOL_H
    QQ: tl.constexpr = Q // POOL_W
    pid_npq, pid_k = program(0, GRID, WIDE), program(1, GRID, WIDE)
    offs_npq = block_offsets(pid_npq * BLOCK_NPQ, BLOCK_NPQ, WIDE)
    mask_npq = offs_npq < N * PP * QQ * WINDOW
    offs_w, tap = offs_npq // WINDOW, offs_npq % WINDOW
    if WINDOW > POOL_H * POOL_W:
        mask_npq = mask_npq & (tap < POOL_H * POOL_W)
    n = offs_w // (PP * QQ)
    p = offs_w // QQ % PP * POOL_H + tap // POOL_W
    q = offs_w % QQ * POOL_W + tap % POOL_W
    offs_k = block_offsets(pid_k * BLOCK_K, BLOCK_K, WIDE)
    mask_k = offs_k < K

    # Reduce over the filter.
    base = n * X[0] + (p * U - PAD_H) * X[2] + (q * V - PAD_W) * X[3]
    acc = tl.zeros((BLOCK_NPQ, BLOCK_K), tl.float32)
    if FLAT:
        for crs in range(0, C * R * S, BLOCK_CRS):
            offs_crs = block_offsets(crs, BLOCK_CRS, WIDE)
            mask_crs = offs_crs < C * R * S
            c, r, s = offs_crs % C, offs_crs // (C * S), offs_crs // C % S
            offs_x = c * X[1] + r * (DIL_H * X[2]) + s * (DIL_W * X[3])
            offs_f = c * F[1] + r * F[2] + s * F[3]
            x = tl.load(x_ptr + base[:, None] + offs_x[None, :], mask=mask_npq[:, None] & mask_crs[None, :], other=0.0)
            f = tl.load(
                w_ptr + offs_f[:, None] + (offs_k * F[0])[None, :], mask=mask_crs[:, None] & mask_k[None, :], other=0.0
            )
            acc = tl.dot(x, f, acc, input_precision="ieee")
    else:
        for rs in range(0, R * S):
            r, s = rs // S, rs % S
            inside = mask_npq
            if PAD_H > 0:
                h = p * U + (r * DIL_H - PAD_H)
                inside = inside & (h >= 0) & (h < H)
            if PAD_W > 0:
                w = q * V + (s * DIL_W - PAD_W)
                inside = inside & (w >= 0) & (w < W)
            # Offsets of masked-off rows are clamped: a negative one can fault under an asynchronous copy.
            rows = tl.where(inside, base + (r * (DIL_H * X[2]) + s * (DIL_W * X[3])), 0)
            for c0 in range(0, C, BLOCK_CRS):
                c = block_offsets(c0, BLOCK_CRS, WIDE)
                mask_c = c < C
                offs_f = c * F[1] + (r * F[2] + s * F[3])
                x = tl.load(
                    x_ptr + rows[:, None] + (c * X[1])[None, :], mask=inside[:, None] & mask_c[None, :], other=0.0
                )
                f = tl.load(
                    w_ptr + offs_f[:, None] + (offs_k * F[0])[None, :],
                    mask=mask_c[:, None] & mask_k[None, :],
                    other=0.0,
                )
                acc = tl.dot(x, f, acc, input_precision="ieee")

    # Epilogue, pooling, store.
    if EPILOGUE is not None:
        mask = mask_npq[:, None] & mask_k[None, :]
        acc = EPILOGUE(acc, args, (n[:, None], offs_k[None, :], p[:, None], q[:, None]), mask)
    if WINDOW == 1:
        offs_y = (n * Y[0] + p * Y[2] + q * Y[3])[:, None] + (offs_k * Y[1])[None, :]
        tl.store(y_ptr + offs_y, acc, mask=mask_npq[:, None] & mask_k[None, :])
    else:
        BLOCK_W: tl.constexpr = BLOCK_NPQ // WINDOW
        if WINDOW > POOL_H * POOL_W:
            acc = tl.where(mask_npq[:, None], acc, float("-inf"))
        windows = tl.reshape(acc, [BLOCK_W, WINDOW, BLOCK_K])
        offs_w = block_offsets(pid_npq * BLOCK_W, BLOCK_W, WIDE)
        n, p, q = offs_w // (PP * QQ), offs_w // QQ % PP, offs_w % QQ
        mask = (offs_w < N * PP * QQ)[:, None] & mask_k[None, :]
        offs_y = (n * Y[0] + p * Y[2] + q * Y[3])[:, None] + (offs_k * Y[1])[None, :]
        if i_ptr is None:
            tl.store(y_ptr + offs_y, tl.reduce(windows, 1, larger), mask=mask)
        else:
            taps = tl.broadcast_to(tl.arange(0, WINDOW)[None, :, None], [BLOCK_W, WINDOW, BLOCK_K])
            best, tap = tl.reduce((windows, taps), 1, larger_at)
            tl.store(y_ptr + offs_y, best, mask=mask)
            offs_i = (n * I[0] + p * I[2] + q * I[3])[:, None] + (offs_k * I[1])[None, :]
            tl.store(i_ptr + offs_i, tap.to(tl.uint8), mask=mask)


def conv2d(
    y: TensorType,
    x: TensorType,
    w: TensorType,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    epilogue: Slot | None = None,
    pool: tuple[int, int] | None = None,
    indices: TensorType | None = None,
    tile: Tile | None = None,
    target: str = "cpu",
) -> Launch:
    """y [N,K,P,Q] = epilogue(conv2d(x [N,C,H,W], w [K,C,R,S])).

    With ``pool`` (a window of at most 64 pixels) y is [N, K, P // POOL_H, Q // POOL_W], and ``indices``, if given,
    gets the winning tap of each window (u8 of y's shape, second result). The epilogue comes before the pooling; its
    coordinates are n, k, p, q of the convolution.
    Raises ShapeError, DTypeError; UnsupportedError for groups and for larger windows.
    """
    check_rank("conv2d", 4, y=y, x=x, w=w)
    check_floats("conv2d", y=y, x=x, w=w)
    if w.dtype != x.dtype:
        raise DTypeError(f"conv2d: w must be {x.dtype}, as x is; got {w.dtype}")
    problem = conv_problem("conv2d", x, w, ("x", "w"), stride, padding, dilation, groups)
    (N, K, P, Q), (POOL_H, POOL_W) = (problem.N, problem.K, problem.P, problem.Q), pool or (1, 1)
    check_positive("conv2d", POOL_H=POOL_H, POOL_W=POOL_W)
    window = power_of_2(POOL_H * POOL_W)
    if window > 64:
        raise UnsupportedError(f"conv2d: a fused pooling window must have at most 64 pixels; got {POOL_H} x {POOL_W}")
    wanted = (N, K, P // POOL_H, Q // POOL_W)
    if 0 in wanted[1:]:
        raise ShapeError(f"conv2d: a pooling window of {POOL_H} x {POOL_W} is larger than the result of {P} x {Q}")
    check_shape("conv2d", "y", y, wanted, f"from x {list(x.shape)} and w {list(w.shape)}")
    if indices is not None:
        check_shape("conv2d", "indices", indices, wanted, "as y is")
        if indices.dtype != "u8" or window == 1:
            raise DTypeError(
                f"conv2d: indices must be u8 and come with a pooling window; got {indices.dtype}, {POOL_H} x {POOL_W}"
            )

    rows = N * wanted[2] * wanted[3] * window
    flat = is_flat(problem.C, problem.CRS, problem.padded)
    tile = tile or pick_tile(rows, K, problem.C, problem.CRS, flat, window, target)
    return build(
        conv2d_kernel,
        (ceil_div(rows, tile.BLOCK_NPQ), ceil_div(K, tile.BLOCK_K)),
        {"y_ptr": y, "i_ptr": indices, "x_ptr": x, "w_ptr": w},
        **problem._asdict(),
        POOL_H=POOL_H, POOL_W=POOL_W, WINDOW=window, Y=y.strides, I=indices.strides if indices else None, X=x.strides,
        F=w.strides, FLAT=flat, BLOCK_NPQ=tile.BLOCK_NPQ, BLOCK_K=tile.BLOCK_K, BLOCK_CRS=tile.BLOCK_CRS,
        slot=epilogue,
        results=1 if indices is None else 2,
        flops=problem.flops,
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )  # fmt: skip


def conv2d_torch(
    x: torch.Tensor,
    w: torch.Tensor,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    pool: tuple[int, int] | None = None,
) -> torch.Tensor:
    """What conv2d means (without an epilogue), in plain torch."""
    y = torch.nn.functional.conv2d(x, w, None, stride, padding, dilation)
    return y if pool is None else torch.nn.functional.max_pool2d(y, pool)
