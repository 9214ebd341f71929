"""conv2d_wgrad: dw[k,c,r,s] = sum over n,p,q of x[n,c, p*U-PAD_H+r*DIL_H, q*V-PAD_W+s*DIL_W] * dy[n,k,p,q]; db[k] = sum of dy.

Method   implicit GEMM: rows are CRS, columns filters, reduced over the pixels NPQ. x is loaded pixel by pixel, as in the
         forward pass (address base(npq) + offset(crs)), and transposed in the tile. Without padding a block of rows runs
         over all of CRS, or with few channels over a line of taps (``ROWS``), whose offsets are known beforehand; else it
         holds channels of one tap, and pixels whose tap lies in the padding read 0.
Split    the pixels are cut into SPLIT parts for parallelism; a second launch adds the partial results in fixed order.
Tile     one program makes BLOCK_CRS x BLOCK_K of dw, in steps of BLOCK_NPQ pixels of its part.
Traffic  x once per block of filters (R*S times from cache), dy once per block of CRS, 8 * SPLIT bytes per element of dw.
Layout   any strides; fast: x and dy NHWC, dw RSCK.
"""

from __future__ import annotations

from dataclasses import replace
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
    power_of_2,
)
from tritoncnn.kernels.conv_problem import Ints, conv_problem, volume
from tritoncnn.kernels.depthwise import depthwise_wgrad, is_depthwise
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.sum_parts import parts_type, sum_parts
from tritoncnn.kernels.target import Target


class Tile(NamedTuple):
    BLOCK_CRS: int
    BLOCK_K: int
    BLOCK_NPQ: int
    SPLIT: int = 1
    num_warps: int = 4
    num_stages: int = 2


SPLIT_MAX = 32
CPU_PROGRAMS = 8
CPU_PIXELS = 512  # of a part, at least: less would not pay for its partial result
WHOLE_CRS = 256  # longest block of rows, on a CPU
GPU_PROGRAMS = 128


def rows_together(C: int, S: int, CRS: int, padded: bool) -> int:
    """How many rows of CRS follow each other in blocks: all, those of a line of S taps, or those of one tap."""
    if C == CRS or (not padded and CRS <= WHOLE_CRS):
        return CRS
    return S * C if not padded and C <= 16 else C


def pick_tile(CRS: int, rows: int, K: int, NPQ: int, groups: int, target: Target,
              dtype: str = "f32") -> Tile:  # fmt: skip
    """Tile for filters of CRS x K, in each of the groups, of which so many ``rows`` go together, and NPQ pixels.

    The split depends on sizes only, never on threads: results keep their bits.
    """
    if target.kind == "cpu":
        # Few pixels at a time: their rows of x lie far apart, often in the same few lines of the cache.
        block = WHOLE_CRS if rows < WHOLE_CRS or rows == CRS else 128
        tile = Tile(min(power_of_2(rows), block), min(power_of_2(K), 64), 64)
        wanted, pixels, least = CPU_PROGRAMS, CPU_PIXELS, 1
    else:
        most = 64 if dtype == "f32" else 128  # products of f32 need more registers
        block, block_k = (max(min(power_of_2(n), largest), 16) for n, largest in ((rows, most), (K, 64)))
        tile = Tile(block, block_k, 32, 1, 4 if block * block_k > 512 else 2, 3)
        wanted, pixels, least = GPU_PROGRAMS, 512, 16  # tl.dot reduces over 16 or more
    blocks = ceil_div(rows, tile.BLOCK_CRS) * (CRS // rows) * ceil_div(K, tile.BLOCK_K) * groups
    split = max(min(ceil_div(wanted, blocks), NPQ // pixels, SPLIT_MAX), 1)
    part = ceil_div(max(NPQ, 1), split)
    return tile._replace(SPLIT=split, BLOCK_NPQ=min(tile.BLOCK_NPQ, power_of_2(max(part, least))))


@triton.jit
def conv2d_wgrad_kernel(
    dw_ptr, db_ptr, x_ptr, dy_ptr,  # dw_ptr is the workspace when SPLIT > 1
    N: tl.constexpr, C: tl.constexpr, D: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    O: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, G: tl.constexpr,
    STEP: tl.constexpr, PAD: tl.constexpr, DIL: tl.constexpr,  # by axis: d, h, w
    DW: tl.constexpr, STRIDE_DB: tl.constexpr, X: tl.constexpr, DY: tl.constexpr,  # strides: dw kctrs, x ncdhw, dy nkopq
    BIAS: tl.constexpr, ROWS: tl.constexpr, PADDED: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_CRS: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_NPQ: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    NPQ: tl.constexpr = N * O * P * Q
    CG: tl.constexpr = C // G
    KG: tl.constexpr = K // G
    CRS: tl.constexpr = CG * T * R * S
    # Which rows of dw (c, t, r, s), which filters of which group, which part of the pixels.
    pid_crs, pid_k, part = program(0, GRID, WIDE), program(1, GRID, WIDE), program(2, GRID, WIDE)
    BLOCKS: tl.constexpr = (ROWS + BLOCK_CRS - 1) // BLOCK_CRS  # of rows that go together
    offs_crs = block_offsets(pid_crs % BLOCKS * BLOCK_CRS, BLOCK_CRS, WIDE)
    mask_crs = offs_crs < ROWS
    part_crs = pid_crs // BLOCKS
    if ROWS == CG:
        c, t, r, s = offs_crs, part_crs // (R * S), part_crs // S % R, part_crs % S
    elif ROWS == CG * S:
        c, t, r, s = offs_crs % CG, part_crs // R, part_crs % R, offs_crs // CG
    else:
        c, t, r, s = offs_crs % CG, offs_crs // (CG * R * S), offs_crs // (CG * S) % R, offs_crs // CG % S
    if G == 1:
        group = tl.full((), 0, tl.int32)
        offs_k = block_offsets(pid_k * BLOCK_K, BLOCK_K, WIDE)
        mask_k = offs_k < K
    else:
        BLOCKS_K: tl.constexpr = (KG + BLOCK_K - 1) // BLOCK_K
        group = pid_k // BLOCKS_K
        offs_k = block_offsets(pid_k % BLOCKS_K * BLOCK_K, BLOCK_K, WIDE)
        mask_k = offs_k < KG
        offs_k += group * KG
    tap = t * (DIL[0] * X[2]) + r * (DIL[1] * X[3]) + s * (DIL[2] * X[4])
    offs_x = c * X[1] + (tap + group * (CG * X[1]))

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
        n, o, p, q = offs_npq // (O * P * Q), offs_npq // (P * Q) % O, offs_npq // Q % P, offs_npq % Q
        rows = n * X[0] + (p * STEP[1] - PAD[1]) * X[3] + (q * STEP[2] - PAD[2]) * X[4]
        if D > 1 or T > 1:
            rows += (o * STEP[0] - PAD[0]) * X[2]
        inside = mask_npq
        if ROWS == CG:
            if PAD[0] > 0 or (O - 1) * STEP[0] + (T - 1) * DIL[0] >= D:
                d = o * STEP[0] + (t * DIL[0] - PAD[0])
                inside = inside & (d >= 0) & (d < D)
            if PAD[1] > 0 or (P - 1) * STEP[1] + (R - 1) * DIL[1] >= H:
                h = p * STEP[1] + (r * DIL[1] - PAD[1])
                inside = inside & (h >= 0) & (h < H)
            if PAD[2] > 0 or (Q - 1) * STEP[2] + (S - 1) * DIL[2] >= W:
                w = q * STEP[2] + (s * DIL[2] - PAD[2])
                inside = inside & (w >= 0) & (w < W)
            # Offsets of masked-off rows are clamped (with the tap's own): a negative one can fault under an asynchronous copy.
            if PADDED:
                rows = tl.where(inside, rows, -tap)
        x = tl.load(x_ptr + rows[:, None] + offs_x[None, :], mask=inside[:, None] & mask_crs[None, :], other=0.0)
        rows_dy = n * DY[0] + o * DY[2] + p * DY[3] + q * DY[4]
        dy = tl.load(
            dy_ptr + rows_dy[:, None] + (offs_k * DY[1])[None, :], mask=mask_npq[:, None] & mask_k[None, :], other=0.0
        )
        acc = tl.dot(tl.trans(x), dy, acc, input_precision="ieee")
        if BIAS:
            db += tl.sum(dy.to(tl.float32), 0)

    # Parts lie in the workspace as [SPLIT, T*R*S*CG*K (+ K)].
    mask = mask_crs[:, None] & mask_k[None, :]
    mask_db = mask_k & (offs_k < tl.where(pid_crs == 0, K, 0))  # the first row of programs writes db
    if SPLIT == 1:
        offs_dw = c * DW[1] + (t * DW[2] + r * DW[3] + s * DW[4])
        tl.store(dw_ptr + offs_dw[:, None] + (offs_k * DW[0])[None, :], acc, mask=mask)
        if BIAS:
            tl.store(db_ptr + offs_k * STRIDE_DB, db, mask=mask_db)
    else:
        dw_ptr += part * (CRS * K + K * BIAS)
        tl.store(dw_ptr + ((((t * R + r) * S + s) * CG + c) * K)[:, None] + offs_k[None, :], acc, mask=mask)
        if BIAS:
            tl.store(dw_ptr + CRS * K + offs_k, db, mask=mask_db)


def conv2d_wgrad(
    dw: TensorType,
    db: TensorType | None,
    x: TensorType,
    dy: TensorType,
    *,
    stride: Ints = (1, 1),
    padding: Ints = (0, 0),
    dilation: Ints = (1, 1),
    groups: int = 1,
    tile: Tile | None = None,
    target: Target,
) -> tuple[tuple[Launch, ...], TensorType | None]:
    """dw [K,C/groups,R,S] = gradient of conv2d(x [N,C,H,W], w) for w given dy [N,K,P,Q]; db [K], if given, that for a bias.

    Returns the launches and the workspace they need: ((dw, [db], x, dy), None), or when the pixels are split
    ((workspace, x, dy), (dw, [db], workspace)) with the workspace's type. Raises ShapeError, DTypeError.
    """
    check_floats("conv2d_wgrad", dw=dw, db=db, x=x, dy=dy)
    if x.dtype != dy.dtype:
        raise DTypeError(f"conv2d_wgrad: dy must be {x.dtype}, as x is; got {dy.dtype}")
    problem = conv_problem("conv2d_wgrad", x, dw, ("x", "dw"), stride, padding, dilation, groups)
    C, K = problem.C_G, problem.K
    CRS = C * problem.taps
    depth = (problem.O,) if x.rank == 5 else ()
    wanted = (problem.N, K, *depth, problem.P, problem.Q)
    check_shape("conv2d_wgrad", "dy", dy, wanted, f"from x {list(x.shape)} and dw {list(dw.shape)}")
    if db is not None:
        check_shape("conv2d_wgrad", "db", db, (K,), "one per filter")

    if is_depthwise(problem) and tile is None:
        return depthwise_wgrad(dw, db, x, dy, problem, target)
    NPQ = problem.pixels
    rows = rows_together(C, problem.S, CRS, problem.padded)
    tile = tile or pick_tile(CRS, rows, problem.K_G, NPQ, groups, target, x.dtype)
    order = (*range(2, dw.rank), 1, 0)
    dw_rsck = TensorType(dw.dtype, tuple(dw.shape[d] for d in order), tuple(dw.strides[d] for d in order))
    parts = parts_type(dw_rsck, db, tile.SPLIT) if tile.SPLIT > 1 else None
    blocks = CRS // rows * ceil_div(rows, tile.BLOCK_CRS)
    products = build(
        conv2d_wgrad_kernel,
        (blocks, groups * ceil_div(problem.K_G, tile.BLOCK_K), tile.SPLIT),
        {"dw_ptr": parts or dw, "db_ptr": None if parts else db, "x_ptr": x, "dy_ptr": dy},
        **problem._asdict(),
        DW=volume(dw).strides, STRIDE_DB=db.strides[0] if db else 0, X=volume(x).strides, DY=volume(dy).strides,
        BIAS=int(db is not None), ROWS=rows, PADDED=problem.padded,
        results=2 if db and not parts else 1,
        flops=problem.flops,
        **tile._asdict(),
    )  # fmt: skip
    if parts is None:
        return (products,), None
    added = sum_parts(dw_rsck, db, parts, target=target)
    return (products, replace(added, operands=(dw, *added.operands[1:]))), parts
