"""conv2d_wgrad: dw[k,c,r,s] = sum over n,p,q of x[n,c, p*U-PAD_H+r*DIL_H, q*V-PAD_W+s*DIL_W] * dy[n,k,p,q]; db[k] = sum of dy.

Method   implicit GEMM: rows are CRS, columns filters, reduced over the pixels NPQ. x is loaded pixel by pixel, as in the
         forward pass (address base(npq) + offset(crs)), and transposed in the tile. Without padding a block of rows runs
         over all of CRS (``FLAT``); else it holds channels of one tap, and pixels whose tap lies in the padding read 0.
Split    the pixels are cut into SPLIT parts for parallelism; a second launch adds the partial results in fixed order.
Tile     one program makes BLOCK_CRS x BLOCK_K of dw, in steps of BLOCK_NPQ pixels of its part.
Traffic  x once per block of filters (R*S times from cache), dy once per block of CRS, 8 * SPLIT bytes per element of dw.
Layout   any strides; fast: x and dy NHWC, dw RSCK.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch.nn.grad import conv2d_weight

from tritoncnn.errors import DTypeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import (
    build,
    ceil_div,
    check_floats,
    check_rank,
    check_shape,
    check_target,
    power_of_2,
)
from tritoncnn.kernels.conv2d import is_flat
from tritoncnn.kernels.conv_problem import conv_problem
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.sum_parts import parts_type, sum_parts


class Tile(NamedTuple):
    BLOCK_CRS: int
    BLOCK_K: int
    BLOCK_NPQ: int
    SPLIT: int = 1
    num_warps: int = 4
    num_stages: int = 2


SPLIT_MAX = 32
CPU_PROGRAMS = 16
CPU_PIXELS = 256  # of a part, at least: less would not pay for its partial result
GPU_PROGRAMS = 128


def pick_tile(CRS: int, C: int, K: int, NPQ: int, flat: bool, target: str = "cpu") -> Tile:
    """Tile for a filter of CRS x K and NPQ pixels. The split depends on sizes only, never on threads: results keep their bits."""
    check_target(target)
    rows = CRS if flat else C
    if target == "cpu":
        block_k = min(power_of_2(K), 64)
        tile = Tile(min(power_of_2(rows), 256), block_k, 256)
        wanted, pixels = CPU_PROGRAMS, CPU_PIXELS
    else:
        tile = Tile(max(min(power_of_2(rows), 128), 16), max(min(power_of_2(K), 64), 16), 32, 1, 4, 3)
        wanted, pixels = GPU_PROGRAMS, 512
    blocks = ceil_div(rows, tile.BLOCK_CRS) * (CRS // rows) * ceil_div(K, tile.BLOCK_K)
    split = max(min(ceil_div(wanted, blocks), NPQ // pixels, SPLIT_MAX), 1)
    part = ceil_div(max(NPQ, 1), split)
    return tile._replace(SPLIT=split, BLOCK_NPQ=min(tile.BLOCK_NPQ, power_of_2(part)))


@triton.jit
def conv2d_wgrad_kernel(
    dw_ptr, db_ptr, x_ptr, dy_ptr,  # dw_ptr is the workspace when SPLIT > 1
    N: tl.constexpr, C: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, R: tl.constexpr, S: tl.constexpr, P: tl.constexpr, Q: tl.constexpr,
    U: tl.constexpr, V: tl.constexpr, PAD_H: tl.constexpr, PAD_W: tl.constexpr, DIL_H: tl.constexpr, DIL_W: tl.constexpr,
    DW: tl.constexpr, STRIDE_DB: tl.constexpr, X: tl.constexpr, DY: tl.constexpr,  # memory strides: dw kcrs, x nchw, dy nkpq
    BIAS: tl.constexpr, FLAT: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_CRS: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_NPQ: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    NPQ: tl.constexpr = N * P * Q
    # Which rows of dw (c, r, s), which filters, which part of the pixels.
    pid_crs, pid_k, part = program(0, GRID, WIDE), program(1, GRID, WIDE), program(2, GRID, WIDE)
    if FLAT:
        offs_crs = block_offsets(pid_crs * BLOCK_CRS, BLOCK_CRS, WIDE)
        mask_crs = offs_crs < C * R * S
        c, r, s = offs_crs % C, offs_crs // (C * S), offs_crs // C % S
    else:
        BLOCKS: tl.constexpr = (C + BLOCK_CRS - 1) // BLOCK_CRS  # of channels, for each tap
        c = block_offsets(pid_crs % BLOCKS * BLOCK_CRS, BLOCK_CRS, WIDE)
        mask_crs = c < C
        r, s = pid_crs // BLOCKS // S, pid_crs // BLOCKS % S
    offs_x = c * X[1] + (r * (DIL_H * X[2]) + s * (DIL_W * X[3]))
    offs_k = block_offsets(pid_k * BLOCK_K, BLOCK_K, WIDE)
    mask_k = offs_k < K

    # Reduce over the part's pixels.
    STEPS: tl.constexpr = ((NPQ + BLOCK_NPQ - 1) // BLOCK_NPQ + SPLIT - 1) // SPLIT  # of BLOCK_NPQ
    if SPLIT == 1:
        first = 0
    else:
        first = part * (STEPS * BLOCK_NPQ)
    acc = tl.zeros((BLOCK_CRS, BLOCK_K), tl.float32)
    db = tl.zeros((BLOCK_K,), tl.float32)
    for step in range(0, STEPS):
        offs_npq = block_offsets(first + step * BLOCK_NPQ, BLOCK_NPQ, WIDE)
        mask_npq = offs_npq < NPQ
        n, p, q = offs_npq // (P * Q), offs_npq // Q % P, offs_npq % Q
        rows = n * X[0] + (p * U - PAD_H) * X[2] + (q * V - PAD_W) * X[3]
        inside = mask_npq
        if not FLAT:
            if PAD_H > 0:
                h = p * U + (r * DIL_H - PAD_H)
                inside = inside & (h >= 0) & (h < H)
            if PAD_W > 0:
                w = q * V + (s * DIL_W - PAD_W)
                inside = inside & (w >= 0) & (w < W)
        # Offsets of masked-off rows are clamped (with the tap's own): a negative one can fault under an asynchronous copy.
        if PAD_H > 0 or PAD_W > 0:
            rows = tl.where(inside, rows, -(r * (DIL_H * X[2]) + s * (DIL_W * X[3])))
        x = tl.load(x_ptr + rows[:, None] + offs_x[None, :], mask=inside[:, None] & mask_crs[None, :], other=0.0)
        rows_dy = n * DY[0] + p * DY[2] + q * DY[3]
        dy = tl.load(
            dy_ptr + rows_dy[:, None] + (offs_k * DY[1])[None, :], mask=mask_npq[:, None] & mask_k[None, :], other=0.0
        )
        acc = tl.dot(tl.trans(x), dy, acc, input_precision="ieee")
        if BIAS:
            db += tl.sum(dy.to(tl.float32), 0)

    # Parts lie in the workspace as [SPLIT, R*S*C*K (+ K)].
    mask = mask_crs[:, None] & mask_k[None, :]
    mask_db = offs_k < tl.where(pid_crs == 0, K, 0)  # the first row of programs writes db
    if SPLIT == 1:
        tl.store(dw_ptr + (c * DW[1] + (r * DW[2] + s * DW[3]))[:, None] + (offs_k * DW[0])[None, :], acc, mask=mask)
        if BIAS:
            tl.store(db_ptr + offs_k * STRIDE_DB, db, mask=mask_db)
    else:
        dw_ptr += part * (C * R * S * K + K * BIAS)
        tl.store(dw_ptr + (((r * S + s) * C + c) * K)[:, None] + offs_k[None, :], acc, mask=mask)
        if BIAS:
            tl.store(dw_ptr + C * R * S * K + offs_k, db, mask=mask_db)


def conv2d_wgrad(
    dw: TensorType,
    db: TensorType | None,
    x: TensorType,
    dy: TensorType,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    tile: Tile | None = None,
    target: str = "cpu",
) -> tuple[tuple[Launch, ...], TensorType | None]:
    """dw [K,C,R,S] = gradient of conv2d(x [N,C,H,W], w) for w given dy [N,K,P,Q]; db [K], if given, that for a bias.

    Returns the launches and the workspace they need: ((dw, [db], x, dy), None), or when the pixels are split
    ((workspace, x, dy), (dw, [db], workspace)) with the workspace's type. Raises ShapeError, DTypeError; UnsupportedError
    for groups.
    """
    check_rank("conv2d_wgrad", 4, dw=dw, x=x, dy=dy)
    check_floats("conv2d_wgrad", dw=dw, db=db, x=x, dy=dy)
    if x.dtype != dy.dtype:
        raise DTypeError(f"conv2d_wgrad: dy must be {x.dtype}, as x is; got {dy.dtype}")
    problem = conv_problem("conv2d_wgrad", x, dw, ("x", "dw"), stride, padding, dilation, groups)
    C, K, R, S, CRS = problem.C, problem.K, problem.R, problem.S, problem.CRS
    check_shape(
        "conv2d_wgrad",
        "dy",
        dy,
        (problem.N, K, problem.P, problem.Q),
        f"from x {list(x.shape)} and dw {list(dw.shape)}",
    )
    if db is not None:
        check_shape("conv2d_wgrad", "db", db, (K,), "one per filter")

    NPQ = problem.N * problem.P * problem.Q
    flat = is_flat(C, CRS, problem.padded)
    tile = tile or pick_tile(CRS, C, K, NPQ, flat, target)
    dw_rsck = TensorType(dw.dtype, tuple(dw.shape[d] for d in (2, 3, 1, 0)), tuple(dw.strides[d] for d in (2, 3, 1, 0)))
    parts = parts_type(dw_rsck, db, tile.SPLIT) if tile.SPLIT > 1 else None
    blocks = ceil_div(CRS, tile.BLOCK_CRS) if flat else R * S * ceil_div(C, tile.BLOCK_CRS)
    products = build(
        conv2d_wgrad_kernel,
        (blocks, ceil_div(K, tile.BLOCK_K), tile.SPLIT),
        {"dw_ptr": parts or dw, "db_ptr": None if parts else db, "x_ptr": x, "dy_ptr": dy},
        **problem._asdict(),
        DW=dw.strides, STRIDE_DB=db.strides[0] if db else 0, X=x.strides, DY=dy.strides, BIAS=int(db is not None),
        FLAT=flat, BLOCK_CRS=tile.BLOCK_CRS, BLOCK_K=tile.BLOCK_K, BLOCK_NPQ=tile.BLOCK_NPQ, SPLIT=tile.SPLIT,
        results=2 if db and not parts else 1,
        flops=problem.flops,
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )  # fmt: skip
    if parts is None:
        return (products,), None
    added = sum_parts(dw_rsck, db, parts, target=target)
    return (products, replace(added, operands=(dw, *added.operands[1:]))), parts


def conv2d_wgrad_torch(
    x: torch.Tensor,
    dy: torch.Tensor,
    filter_shape: tuple[int, ...],
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
) -> tuple[torch.Tensor, torch.Tensor]:
    """What conv2d_wgrad means, in plain torch: dw and db."""
    dw = conv2d_weight(x, list(filter_shape), dy, stride, padding, dilation)
    return dw, dy.sum((0, 2, 3))
