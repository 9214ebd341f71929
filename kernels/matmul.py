"""matmul: y[m,n] = epilogue(sum over k of a[m,k] * b[k,n]); M, N, K are a matrix product's own letters in this file.

Serves   linear layers: y = x @ w, dx = dy @ w.T, dw = x.T @ dy: only the strides differ. With ``sums`` also the column sums
         of b, sums[n] = sum over k of b[k,n]: the bias gradient, beside dw. Batches of matrices: up to four dims before
         the last two, in which a and b broadcast.
Tile     one program makes BLOCK_M x BLOCK_N of y, in steps of BLOCK_K.
Split    a long K with a small y is cut into SPLIT parts, whose partial results a second launch adds in fixed order; not in a
         batch, which has programs enough.
Traffic  a once per block of columns, b once per block of rows, y once.
Layout   any strides; fast: b and y with n contiguous, or b in panels of columns (``panels.py``); a with k or m contiguous.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import triton
import triton.language as tl

from tritoncnn.errors import DTypeError, ShapeError, UnsupportedError
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
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.dims import stretch
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.panels import check_panels, panel_gap, panel_step
from tritoncnn.kernels.sum_parts import parts_type, sum_parts
from tritoncnn.kernels.target import Target


class Tile(NamedTuple):
    BLOCK_M: int
    BLOCK_N: int
    BLOCK_K: int
    SPLIT: int = 1
    num_warps: int = 4
    num_stages: int = 2


GPU_TILES = (
    Tile(128, 128, 32, 1, 4, 3), Tile(128, 64, 32, 1, 4, 3), Tile(64, 64, 32, 1, 4, 3), Tile(32, 64, 32, 1, 4, 3),
    Tile(16, 32, 64, 1, 2, 3),
)  # fmt: skip
CPU_PROGRAMS = 8
WHOLE_K = 512  # longest reduction taken in one piece on a CPU
FEW_ROWS = 8  # of a, made in one go: a panel of b is read once
SPLIT_K = 1024  # on a CPU, K is split from here on ...
SPLIT_MAX = 16  # ... into at most so many parts, until there are SPLIT_PROGRAMS programs
SPLIT_PROGRAMS = 16


BATCH_DIMS = 4


def pick_tile(
    M: int, N: int, K: int, target: Target, split: bool = True, dtype: str = "f32", batch: int = 1, panel: int = 0
) -> Tile:
    """Tile for y [batch, M, N] reduced over K, of b in panels of ``panel`` columns, if not 0. The split depends on sizes only,
    never on threads: results keep their bits."""
    if target.kind != "cpu":
        tile = gpu_tile(GPU_TILES, M, N, dtype, batch)._replace(**({"BLOCK_N": panel} if panel else {}))
        programs, most, wanted = ceil_div(M, tile.BLOCK_M) * ceil_div(N, tile.BLOCK_N), K // 512, 128
    else:
        block_n = panel or min(power_of_2(N), 64)
        block_m = row_block(M, CPU_PROGRAMS, 256, min(power_of_2(M), 16), ceil_div(N, block_n) * batch)
        tile = Tile(block_m, block_n, panel_step(K) if panel and M > FEW_ROWS else reduction_step(K, WHOLE_K))
        programs, most, wanted = ceil_div(M, block_m) * ceil_div(N, block_n), K // SPLIT_K, SPLIT_PROGRAMS
    parts = min(wanted // max(programs, 1), most, SPLIT_MAX)
    return tile._replace(SPLIT=parts) if split and parts > 1 and batch == 1 else tile


@triton.jit
def _batch_offset(at, STRIDES: tl.constexpr):
    return at[0] * STRIDES[0] + at[1] * STRIDES[1] + at[2] * STRIDES[2] + at[3] * STRIDES[3]


@triton.jit
def matmul_kernel(
    y_ptr, sums_ptr, a_ptr, b_ptr, args,  # results first; y_ptr is the workspace when SPLIT > 1
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
    Y: tl.constexpr, A: tl.constexpr, B: tl.constexpr, STRIDE_SUMS: tl.constexpr,  # memory strides
    RANK: tl.constexpr, BATCH: tl.constexpr,  # of y; sizes of its batch dims, filled up to four
    BATCH_Y: tl.constexpr, BATCH_A: tl.constexpr, BATCH_B: tl.constexpr,  # memory strides of the four
    GAP: tl.constexpr,  # of b in panels of BLOCK_N: elements from the end of a row to the next panel
    SUMS: tl.constexpr, EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    pid_m, pid_n, part = program(0, GRID, WIDE), program(1, GRID, WIDE), program(2, GRID, WIDE)
    if RANK > 2:  # never split: the third axis counts matrices
        i2, i3 = part // BATCH[3] % BATCH[2], part % BATCH[3]
        batch = (part // (BATCH[1] * BATCH[2] * BATCH[3]), part // (BATCH[2] * BATCH[3]) % BATCH[1], i2, i3)
        y_ptr += _batch_offset(batch, BATCH_Y)
        a_ptr += _batch_offset(batch, BATCH_A)
        b_ptr += _batch_offset(batch, BATCH_B)
    offs_m = block_offsets(pid_m * BLOCK_M, BLOCK_M, WIDE)
    offs_n = block_offsets(pid_n * BLOCK_N, BLOCK_N, WIDE)
    mask_m, mask_n = offs_m < M, offs_n < N
    if GAP > 0:
        b_ptr += pid_n * GAP
    STEPS: tl.constexpr = ((K + BLOCK_K - 1) // BLOCK_K + SPLIT - 1) // SPLIT  # of BLOCK_K, in a part
    if SPLIT == 1:
        first = 0
    else:
        first = part * (STEPS * BLOCK_K)

    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    sums = tl.zeros((BLOCK_N,), tl.float32)
    for step in range(0, STEPS):
        offs_k = block_offsets(first + step * BLOCK_K, BLOCK_K, WIDE)
        mask_k = offs_k < K
        offs_a = (offs_m * A[0])[:, None] + (offs_k * A[1])[None, :]
        offs_b = (offs_k * B[0])[:, None] + (offs_n * B[1])[None, :]
        a = tl.load(a_ptr + offs_a, mask=mask_m[:, None] & mask_k[None, :], other=0.0)
        b = tl.load(b_ptr + offs_b, mask=mask_k[:, None] & mask_n[None, :], other=0.0)
        acc = tl.dot(a, b, acc, input_precision="ieee")
        if SUMS:
            sums += tl.sum(b.to(tl.float32), 0)

    mask = mask_m[:, None] & mask_n[None, :]
    mask_sums = offs_n < tl.where(pid_m == 0, N, 0)  # the first row of programs writes them
    if SPLIT == 1:
        if EPILOGUE is not None:
            m, n = offs_m[:, None], offs_n[None, :]
            if RANK == 2:
                acc = EPILOGUE(acc, args, (m, n), mask)
            else:
                one = tl.zeros((1, 1), tl.int32)  # coordinates are tensors of the accumulator's rank
                i0, i1, i2, i3 = batch[0] + one, batch[1] + one, batch[2] + one, batch[3] + one
                if RANK == 3:
                    acc = EPILOGUE(acc, args, (i3, m, n), mask)
                elif RANK == 4:
                    acc = EPILOGUE(acc, args, (i2, i3, m, n), mask)
                elif RANK == 5:
                    acc = EPILOGUE(acc, args, (i1, i2, i3, m, n), mask)
                else:
                    acc = EPILOGUE(acc, args, (i0, i1, i2, i3, m, n), mask)
        tl.store(y_ptr + (offs_m * Y[0])[:, None] + (offs_n * Y[1])[None, :], acc, mask=mask)
        if SUMS:
            tl.store(sums_ptr + offs_n * STRIDE_SUMS, sums, mask=mask_sums)
    else:
        LENGTH: tl.constexpr = M * N + N * SUMS
        y_ptr += part * LENGTH
        tl.store(y_ptr + (offs_m * N)[:, None] + offs_n[None, :], acc, mask=mask)
        if SUMS:
            tl.store(y_ptr + M * N + offs_n, sums, mask=mask_sums)


def matmul(
    y: TensorType,
    a: TensorType,
    b: TensorType,
    *,
    sums: TensorType | None = None,
    epilogue: Slot | None = None,
    panels: bool = False,
    tile: Tile | None = None,
    target: Target,
) -> tuple[tuple[Launch, ...], TensorType | None]:
    """y [M,N] = epilogue(a [M,K] @ b [K,N]); sums [N], if given, gets b's column sums (second result).

    Or y [..., M, N], the products of batches of matrices whose leading dims broadcast to y's, without sums.
    With ``panels`` b are panels [N / B, K, B] of one matrix.
    Returns the launches and the workspace they need: ((y, [sums], a, b, *args), None), or when K is split
    ((workspace, a, b), (y, [sums], workspace, *args)) with the workspace's type.
    Raises ShapeError, DTypeError; UnsupportedError for more than four batch dims.
    """
    check_floats("matmul", y=y, a=a, b=b, sums=sums)
    given = b
    if panels:
        rows, columns = check_panels("matmul", "b", b)
        b = TensorType(b.dtype, (rows, columns), b.strides[1:])  # the strides that hold inside of the first panel
    for name, tensor in (("y", y), ("a", a), ("b", b)):
        if tensor.rank < 2 or (sums is not None and tensor.rank != 2):
            wanted = "2 dims beside sums" if sums is not None else "at least 2 dims"
            raise ShapeError(f"matmul: {name} must have {wanted}; got {list(tensor.shape)}")
    (M, K), (K_b, N) = a.shape[-2:], b.shape[-2:]
    if K_b != K:
        raise ShapeError(f"matmul: b must have {K} rows, as a {list(a.shape)} has columns; got {list(b.shape)}")
    if a.dtype != b.dtype:
        raise DTypeError(f"matmul: b must be {a.dtype}, as a is; got {b.dtype}")
    lead = y.shape[:-2]
    check_shape("matmul", "y", y, (*lead, M, N), f"from a {list(a.shape)} and b {list(b.shape)}")
    if len(lead) > BATCH_DIMS:
        raise UnsupportedError(f"matmul: y must have at most {BATCH_DIMS + 2} dims; got {list(y.shape)}")
    if sums is not None:
        check_shape("matmul", "sums", sums, (N,), "one per column of b")
    batch = math.prod(lead)
    filled = (0,) * (BATCH_DIMS - len(lead))
    batch_y, batch_a, batch_b = (
        filled + t.strides[:-2] for t in (y, stretch(a, (*lead, M, K)), stretch(b, (*lead, K, N)))
    )
    panel = given.shape[2] if panels else 0
    tile = tile or pick_tile(M, N, K, target, dtype=a.dtype, batch=batch, panel=panel)
    if panel not in (0, tile.BLOCK_N):
        raise UnsupportedError(f"matmul: a tile for panels of {panel} columns must have as many; got {tile}")
    parts = parts_type(y, sums, tile.SPLIT) if tile.SPLIT > 1 else None
    # Sums need a row of programs even when y has no rows.
    grid = (max(ceil_div(M, tile.BLOCK_M), int(sums is not None)), ceil_div(N, tile.BLOCK_N), tile.SPLIT * batch)
    product = build(
        matmul_kernel,
        grid,
        {"y_ptr": parts or y, "sums_ptr": None if parts else sums, "a_ptr": a, "b_ptr": given},
        M=M, N=N, K=K, Y=y.strides[-2:], A=a.strides[-2:], B=b.strides[-2:], STRIDE_SUMS=sums.strides[0] if sums else 0,
        RANK=y.rank, BATCH=(1,) * len(filled) + lead, BATCH_Y=batch_y, BATCH_A=batch_a, BATCH_B=batch_b,
        GAP=panel_gap(given) if panel else 0, SUMS=int(sums is not None),
        slot=None if parts else epilogue,
        results=2 if sums and not parts else 1,
        flops=2 * batch * M * N * K,
        **tile._asdict(),
    )  # fmt: skip
    if parts is None:
        return (product,), None
    return (product, sum_parts(y, sums, parts, epilogue=epilogue, target=target)), parts
