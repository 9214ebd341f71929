"""conv2d: y[n,k,p,q] = sum over c,r,s of x[n,c, p*U-PAD_H+r*DIL_H, q*V-PAD_W+s*DIL_W] * w[k,c,r,s], then an epilogue.

Volumes  the same with a third axis, of o, d and t; a picture is a volume of depth 1, and what that adds folds away.
Groups   filter k sees the C/G channels of its group; a program makes filters of one group.

Method   implicit GEMM: NPQ rows times K columns, reduced over CRS. x is never copied: the address of an element is
         base(row) + offset(crs). Where no tap leaves the image the reduction runs over all of CRS in one go (``FLAT``); else
         tap by tap, and rows whose tap lies in the padding read 0.
Pooling  optional max over windows of y that do not overlap (step = window, no padding): rows are ordered window by window,
         so the rows of one window are neighbours in the tile. Emits the pooled y and, if asked, which tap won. A window
         takes a power of two of rows (WINDOW): those past its POOL_H * POOL_W taps are wasted.
Prologue optional, for one tap without padding: pointwise work on x as it is loaded, once for each block of filters.
Moments  optional: per block of rows and filter the sum and the squared distances from its mean (``moments.py`` joins them), of
         what the epilogue gets.
Tile     one program makes BLOCK_NPQ rows of BLOCK_K filters.
Traffic  x once per block of filters, w once per block of rows, y once (a POOL_H*POOL_W-th of it when pooled).
Layout   any strides; fast: x and y NHWC, w RSCK (filters innermost), or w in panels of filters (``panels.py``).
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

from tritoncnn.errors import DTypeError, ShapeError, UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import (
    build,
    ceil_div,
    check_floats,
    check_positive,
    check_shape,
    gpu_tile,
    power_of_2,
    reduction_step,
    row_block,
)
from tritoncnn.kernels.conv_problem import Ints, conv_problem, volume
from tritoncnn.kernels.depthwise import depthwise, is_depthwise
from tritoncnn.kernels.device import block_offsets, larger, larger_at, program
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.moments import parts_of_blocks
from tritoncnn.kernels.panels import check_panels, panel_gap, panel_step
from tritoncnn.kernels.target import Target


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
CPU_PROGRAMS = 8  # enough for an even spread over a few cores
CPU_PROGRAMS_SMALL = 4  # below SMALL_FLOPS a program's own cost counts
SMALL_FLOPS = 2_000_000
WHOLE_CRS, WHOLE_C = 512, 256  # longest reduction taken in one piece on a CPU: of all taps, of one


def is_flat(C: int, CRS: int, padded: bool) -> bool:
    """Whether to reduce over CRS as one axis: no tap leaves the image, and channels alone are too few or CRS is short."""
    return not padded and (CRS <= WHOLE_CRS or C < 16)


def pick_tile(NPQ: int, K: int, C: int, CRS: int, flat: bool, window: int, target: Target,
              dtype: str = "f32", panel: int = 0) -> Tile:  # fmt: skip
    """Tile for NPQ rows, K filters, a reduction of CRS over operands of ``dtype``; ``window`` rows are pooled into one, and
    filters lie in panels of ``panel``, if not 0."""
    if target.kind != "cpu":
        return gpu_tile(GPU_TILES, NPQ, K, dtype)._replace(**({"BLOCK_K": panel} if panel else {}))
    programs = CPU_PROGRAMS if 2 * NPQ * K * CRS > SMALL_FLOPS else CPU_PROGRAMS_SMALL
    # Filters heavier than the picture: many rows, for they are packed once per block of rows. Else many filters, for the
    # picture is read once per block of filters. Sums that are taken up again at each tap for few channels stay in L1.
    heavy = CRS * K > NPQ * C
    area = 32768 if heavy else 65536 if flat else 32768 if C > 32 else 4096
    block_k = panel or min(power_of_2(K), 64 if heavy else 256)
    while block_k > 64 and ceil_div(NPQ, 64) * ceil_div(K, block_k) < programs:
        block_k //= 2
    largest = min(area // block_k, 512 if heavy or block_k < 64 else 256)
    rows = max(row_block(NPQ, programs, largest, 16, ceil_div(K, block_k)), window)
    size, whole = (CRS, WHOLE_CRS) if flat else (C, WHOLE_C)
    return Tile(rows, block_k, panel_step(size) if panel else reduction_step(size, whole))


@triton.jit
def prologue(x, FUNCTION: tl.constexpr, args, n, c, o, p, q, mask, STEP: tl.constexpr, RANK: tl.constexpr):
    """Pointwise work on x, of filters with one tap and no padding; 0 where x is not."""
    h, w = p * STEP[1], q * STEP[2]
    if RANK == 4:
        y = FUNCTION(x.to(tl.float32), args, (n[:, None], c[None, :], h[:, None], w[:, None]), mask)
    else:
        d = o * STEP[0]
        y = FUNCTION(x.to(tl.float32), args, (n[:, None], c[None, :], d[:, None], h[:, None], w[:, None]), mask)
    return tl.where(mask, y, 0.0).to(x.dtype)


@triton.jit
def conv2d_kernel(
    y_ptr, i_ptr, s_ptr, x_ptr, w_ptr, args,  # results first, then operands; args belongs to the epilogue
    N: tl.constexpr, C: tl.constexpr, D: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, T: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
    O: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, G: tl.constexpr,
    STEP: tl.constexpr, PAD: tl.constexpr, DIL: tl.constexpr,  # by axis: d, h, w
    POOL_H: tl.constexpr, POOL_W: tl.constexpr, WINDOW: tl.constexpr,  # pooling window and its rows: all 1 without
    Y: tl.constexpr, I: tl.constexpr, X: tl.constexpr, F: tl.constexpr,  # memory strides: y, i: nkopq; x: ncdhw; w: kctrs
    GAP: tl.constexpr,  # of filters in panels of BLOCK_K: elements from the end of a row to the next panel
    RANK: tl.constexpr, FLAT: tl.constexpr, PROLOGUE: tl.constexpr, EPILOGUE: tl.constexpr, GRID: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_NPQ: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_CRS: tl.constexpr,
):  # fmt: skip
    # Which rows (pixels of y, window by window), which filters of which group.
    PP: tl.constexpr = P // POOL_H
    QQ: tl.constexpr = Q // POOL_W
    CG: tl.constexpr = C // G
    KG: tl.constexpr = K // G
    pid_npq, pid_k = program(0, GRID, WIDE), program(1, GRID, WIDE)
    offs_npq = block_offsets(pid_npq * BLOCK_NPQ, BLOCK_NPQ, WIDE)
    mask_npq = offs_npq < N * O * PP * QQ * WINDOW
    offs_w, tap = offs_npq // WINDOW, offs_npq % WINDOW
    if WINDOW > POOL_H * POOL_W:
        mask_npq = mask_npq & (tap < POOL_H * POOL_W)
    n = offs_w // (O * PP * QQ)
    o = offs_w // (PP * QQ) % O
    p = offs_w // QQ % PP * POOL_H + tap // POOL_W
    q = offs_w % QQ * POOL_W + tap % POOL_W
    BLOCKS: tl.constexpr = (KG + BLOCK_K - 1) // BLOCK_K  # of a group's filters
    if G == 1:
        group = tl.full((), 0, tl.int32)
        offs_k = block_offsets(pid_k * BLOCK_K, BLOCK_K, WIDE)
        mask_k = offs_k < K
        if GAP > 0:
            w_ptr += pid_k * GAP
    else:
        group = pid_k // BLOCKS
        offs_k = block_offsets(pid_k % BLOCKS * BLOCK_K, BLOCK_K, WIDE)
        mask_k = offs_k < KG
        offs_k += group * KG

    # Reduce over the filter.
    base = n * X[0] + (p * STEP[1] - PAD[1]) * X[3] + (q * STEP[2] - PAD[2]) * X[4] + group * (CG * X[1])
    if D > 1 or T > 1:
        base += (o * STEP[0] - PAD[0]) * X[2]
    acc = tl.zeros((BLOCK_NPQ, BLOCK_K), tl.float32)
    if FLAT:
        for crs in range(0, CG * T * R * S, BLOCK_CRS):
            offs_crs = block_offsets(crs, BLOCK_CRS, WIDE)
            mask_crs = offs_crs < CG * T * R * S
            c, t = offs_crs % CG, offs_crs // (CG * R * S)
            r, s = offs_crs // (CG * S) % R, offs_crs // CG % S
            offs_x = c * X[1] + t * (DIL[0] * X[2]) + r * (DIL[1] * X[3]) + s * (DIL[2] * X[4])
            offs_f = c * F[1] + t * F[2] + r * F[3] + s * F[4]
            mask = mask_npq[:, None] & mask_crs[None, :]
            x = tl.load(x_ptr + base[:, None] + offs_x[None, :], mask=mask, other=0.0)
            if PROLOGUE is not None:
                x = prologue(x, PROLOGUE, args, n, c + group * CG, o, p, q, mask, STEP, RANK)
            f = tl.load(
                w_ptr + offs_f[:, None] + (offs_k * F[0])[None, :], mask=mask_crs[:, None] & mask_k[None, :], other=0.0
            )
            acc = tl.dot(x, f, acc, input_precision="ieee")
    else:
        for trs in range(0, T * R * S):
            t, r, s = trs // (R * S), trs // S % R, trs % S
            inside = mask_npq
            if PAD[0] > 0 or (O - 1) * STEP[0] + (T - 1) * DIL[0] >= D:
                d = o * STEP[0] + (t * DIL[0] - PAD[0])
                inside = inside & (d >= 0) & (d < D)
            if PAD[1] > 0 or (P - 1) * STEP[1] + (R - 1) * DIL[1] >= H:
                h = p * STEP[1] + (r * DIL[1] - PAD[1])
                inside = inside & (h >= 0) & (h < H)
            if PAD[2] > 0 or (Q - 1) * STEP[2] + (S - 1) * DIL[2] >= W:
                w = q * STEP[2] + (s * DIL[2] - PAD[2])
                inside = inside & (w >= 0) & (w < W)
            # Offsets of masked-off rows are clamped: a negative one can fault under an asynchronous copy.
            offset = t * (DIL[0] * X[2]) + r * (DIL[1] * X[3]) + s * (DIL[2] * X[4])
            rows = tl.where(inside, base + offset, 0)
            for c0 in range(0, CG, BLOCK_CRS):
                c = block_offsets(c0, BLOCK_CRS, WIDE)
                mask_c = c < CG
                offs_f = c * F[1] + (t * F[2] + r * F[3] + s * F[4])
                mask = inside[:, None] & mask_c[None, :]
                x = tl.load(x_ptr + rows[:, None] + (c * X[1])[None, :], mask=mask, other=0.0)
                if PROLOGUE is not None:
                    x = prologue(x, PROLOGUE, args, n, c + group * CG, o, p, q, mask, STEP, RANK)
                f = tl.load(
                    w_ptr + offs_f[:, None] + (offs_k * F[0])[None, :],
                    mask=mask_c[:, None] & mask_k[None, :],
                    other=0.0,
                )
                acc = tl.dot(x, f, acc, input_precision="ieee")

    # Statistics, epilogue, pooling, store.
    if s_ptr is not None:
        rows = tl.minimum(N * O * P * Q - pid_npq * BLOCK_NPQ, BLOCK_NPQ).to(tl.float32)
        mean = tl.sum(acc, 0) / rows  # rows past the end are 0
        far = tl.where(mask_npq[:, None], acc - mean[None, :], 0.0)
        rest = tl.sum(far, 0) / rows  # what rounding took from the mean: equal rows have exactly theirs
        offs_s = pid_npq * (2 * K) + offs_k
        tl.store(s_ptr + offs_s, mean + rest, mask=mask_k)
        tl.store(s_ptr + offs_s + K, tl.maximum(tl.sum(far * far, 0) - rest * rest * rows, 0.0), mask=mask_k)
    if EPILOGUE is not None:
        mask = mask_npq[:, None] & mask_k[None, :]
        if RANK == 4:
            acc = EPILOGUE(acc, args, (n[:, None], offs_k[None, :], p[:, None], q[:, None]), mask)
        else:
            acc = EPILOGUE(acc, args, (n[:, None], offs_k[None, :], o[:, None], p[:, None], q[:, None]), mask)
    if WINDOW == 1:
        offs_y = (n * Y[0] + o * Y[2] + p * Y[3] + q * Y[4])[:, None] + (offs_k * Y[1])[None, :]
        tl.store(y_ptr + offs_y, acc, mask=mask_npq[:, None] & mask_k[None, :])
    else:
        BLOCK_W: tl.constexpr = BLOCK_NPQ // WINDOW
        if WINDOW > POOL_H * POOL_W:
            acc = tl.where(mask_npq[:, None], acc, float("-inf"))
        windows = tl.reshape(acc, [BLOCK_W, WINDOW, BLOCK_K])
        offs_w = block_offsets(pid_npq * BLOCK_W, BLOCK_W, WIDE)
        n, o, p, q = offs_w // (O * PP * QQ), offs_w // (PP * QQ) % O, offs_w // QQ % PP, offs_w % QQ
        mask = (offs_w < N * O * PP * QQ)[:, None] & mask_k[None, :]
        offs_y = (n * Y[0] + o * Y[2] + p * Y[3] + q * Y[4])[:, None] + (offs_k * Y[1])[None, :]
        if i_ptr is None:
            tl.store(y_ptr + offs_y, tl.reduce(windows, 1, larger), mask=mask)
        else:
            taps = tl.broadcast_to(tl.arange(0, WINDOW)[None, :, None], [BLOCK_W, WINDOW, BLOCK_K])
            best, tap = tl.reduce((windows, taps), 1, larger_at)
            tl.store(y_ptr + offs_y, best, mask=mask)
            offs_i = (n * I[0] + o * I[2] + p * I[3] + q * I[4])[:, None] + (offs_k * I[1])[None, :]
            tl.store(i_ptr + offs_i, tap.to(tl.uint8), mask=mask)


def filters_of_panels(panels: TensorType, taps: Ints, groups: int) -> TensorType:
    """Panels [K / B, RSC, B] as filters [K, C, R, S], with the strides that hold inside of the first panel."""
    rows, K = check_panels("conv2d", "w", panels)
    if groups != 1 or len(taps) != 2 or min(taps) < 1 or rows % (taps[0] * taps[1]):
        raise ShapeError(
            f"conv2d: panels {list(panels.shape)} must hold whole filters of one group, of two numbers of taps; got "
            f"groups={groups}, taps={list(taps)}"
        )
    R, S = taps
    C, width = rows // (R * S), panels.shape[2]
    return TensorType(panels.dtype, (K, C, R, S), (1, width, S * C * width, C * width))


def conv2d(
    y: TensorType,
    x: TensorType,
    w: TensorType,
    *,
    stride: Ints = (1, 1),
    padding: Ints = (0, 0),
    dilation: Ints = (1, 1),
    groups: int = 1,
    prologue: Slot | None = None,
    epilogue: Slot | None = None,
    pool: tuple[int, int] | None = None,
    indices: TensorType | None = None,
    statistics: bool = False,
    taps: Ints | None = None,
    tile: Tile | None = None,
    target: Target,
) -> Launch:
    """y [N,K,P,Q] = epilogue(conv2d(x [N,C,H,W], w [K,C/groups,R,S])); or in 3 dims [N,K,O,P,Q], [N,C,D,H,W], [K,C/G,T,R,S].

    ``padding`` has one number per axis, or two: before and after. With ``pool`` (a window of at most 64 pixels of a
    picture) y is [N, K, P // POOL_H, Q // POOL_W], and ``indices``, if given, gets the winning tap of each window (u8 of
    y's shape, second result). The epilogue comes before the pooling; its coordinates are n, k, (o,) p, q of the convolution.
    ``prologue`` is applied to x (coordinates n, c, (d,) h, w), where filters have one tap and nothing is padded; it and the
    epilogue are made for the same operands.
    With ``taps``, (R, S), w are panels [K / B, RSC, B] of filters of one group, whose channels are their innermost rows.
    With ``statistics`` the second result is ``moments.parts_of_blocks`` of BLOCK_NPQ rows each; not with a pool, or depthwise.
    Raises ShapeError, DTypeError; UnsupportedError for larger windows.
    """
    check_floats("conv2d", y=y, x=x, w=w)
    if w.dtype != x.dtype:
        raise DTypeError(f"conv2d: w must be {x.dtype}, as x is; got {w.dtype}")
    filters = w if taps is None else filters_of_panels(w, taps, groups)
    problem = conv_problem("conv2d", x, filters, ("x", "w"), stride, padding, dilation, groups)
    (N, K, O, P, Q), (POOL_H, POOL_W) = (problem.N, problem.K, problem.O, problem.P, problem.Q), pool or (1, 1)
    check_positive("conv2d", POOL_H=POOL_H, POOL_W=POOL_W)
    window = power_of_2(POOL_H * POOL_W)
    if window > 64 or (window > 1 and x.rank != 4):
        raise UnsupportedError(
            f"conv2d: a fused pooling window must have at most 64 pixels of a picture; got {POOL_H} x {POOL_W}"
        )
    depth = (O,) if x.rank == 5 else ()
    panel = 0 if taps is None else w.shape[2]
    wanted = (N, K, *depth, P // POOL_H, Q // POOL_W)
    if 0 in wanted[1:]:
        raise ShapeError(f"conv2d: a pooling window of {POOL_H} x {POOL_W} is larger than the result of {P} x {Q}")
    check_shape("conv2d", "y", y, wanted, f"from x {list(x.shape)} and w {list(w.shape)}")
    if indices is not None:
        check_shape("conv2d", "indices", indices, wanted, "as y is")
        if indices.dtype != "u8" or window == 1:
            raise DTypeError(
                f"conv2d: indices must be u8 and come with a pooling window; got {indices.dtype}, {POOL_H} x {POOL_W}"
            )

    if is_depthwise(problem) and pool is None and tile is None and not statistics:
        return depthwise(y, x, w, problem, epilogue, target)
    if prologue is not None and (problem.taps > 1 or problem.padded or is_depthwise(problem)):
        raise UnsupportedError(
            "conv2d: a prologue is for filters of one tap, without padding, that see several channels"
        )
    if statistics and pool is not None:
        raise UnsupportedError("conv2d: statistics are of a result that is not pooled")
    rows = N * O * wanted[-2] * wanted[-1] * window
    CRS = problem.C_G * problem.taps
    flat = is_flat(problem.C_G, CRS, problem.padded)
    tile = tile or pick_tile(rows, problem.K_G, problem.C_G, CRS, flat, window, target, x.dtype, panel)
    if panel not in (0, tile.BLOCK_K):
        raise UnsupportedError(f"conv2d: a tile for panels of {panel} filters must have as many; got {tile}")
    parts = parts_of_blocks(rows, tile.BLOCK_NPQ, K) if statistics else None
    return build(
        conv2d_kernel,
        (ceil_div(rows, tile.BLOCK_NPQ), groups * ceil_div(problem.K_G, tile.BLOCK_K)),
        {"y_ptr": y, "i_ptr": indices, "s_ptr": parts, "x_ptr": x, "w_ptr": w},
        **problem._asdict(),
        POOL_H=POOL_H, POOL_W=POOL_W, WINDOW=window, Y=volume(y).strides, I=volume(indices).strides if indices else None,
        X=volume(x).strides, F=volume(filters).strides, GAP=panel_gap(w) if panel else 0, RANK=x.rank, FLAT=flat,
        slot=epilogue,
        prologue=prologue,
        results=1 if indices is None and parts is None else 2,
        flops=problem.flops,
        **tile._asdict(),
    )  # fmt: skip
