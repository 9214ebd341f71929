"""matmul: y[m,n] = epilogue(sum over k of a[m,k] * b[k,n]); M, N, K are a matrix product's own letters in this file.

Serves   linear layers: y = x @ w, dx = dy @ w.T, dw = x.T @ dy: only the strides differ. With ``sums`` also the column sums
         of b, sums[n] = sum over k of b[k,n]: the bias gradient, beside dw.
Tile     one program makes BLOCK_M x BLOCK_N of y, in steps of BLOCK_K.
Split    a long K with a small y is cut into SPLIT parts, whose partial results a second launch adds in fixed order.
Traffic  a once per block of columns, b once per block of rows, y once.
Layout   any strides; fast: b and y with n contiguous; a with k or m contiguous.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

from tritoncnn.errors import DTypeError, ShapeError
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
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.sum_parts import parts_type, sum_parts


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
SPLIT_K = 1024  # on a CPU, K is split from here on ...
SPLIT_MAX = 16  # ... into at most so many parts, until there are SPLIT_PROGRAMS programs
SPLIT_PROGRAMS = 16


def pick_tile(M: int, N: int, K: int, target: str = "cpu", split: bool = True, dtype: str = "f32") -> Tile:
    """Tile for y [M, N] reduced over K. The split depends on sizes only, never on threads: results keep their bits."""
    target = check_target(target)
    if target != "cpu":
        tile = gpu_tile(GPU_TILES, M, N, dtype)
        programs, most, wanted = ceil_div(M, tile.BLOCK_M) * ceil_div(N, tile.BLOCK_N), K // 512, 128
    else:
        block_n = min(power_of_2(N), 64)
        block_m = row_block(M, CPU_PROGRAMS, 256, min(power_of_2(M), 16), ceil_div(N, block_n))
        tile = Tile(block_m, block_n, power_of_2(K) if K <= WHOLE_K else 256)
        programs, most, wanted = ceil_div(M, block_m) * ceil_div(N, block_n), K // SPLIT_K, SPLIT_PROGRAMS
    parts = min(wanted // max(programs, 1), most, SPLIT_MAX)
    return tile._replace(SPLIT=parts) if split and parts > 1 else tile


@triton.jit
def matmul_kernel(
    y_ptr, sums_ptr, a_ptr, b_ptr, args,  # results first; y_ptr is the workspace when SPLIT > 1
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
    Y: tl.constexpr, A: tl.constexpr, B: tl.constexpr, STRIDE_SUMS: tl.constexpr,  # memory strides
    SUMS: tl.constexpr, EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    pid_m, pid_n, part = program(0, GRID, WIDE), program(1, GRID, WIDE), program(2, GRID, WIDE)
    offs_m = block_offsets(pid_m * BLOCK_M, BLOCK_M, WIDE)
    offs_n = block_offsets(pid_n * BLOCK_N, BLOCK_N, WIDE)
    mask_m, mask_n = offs_m < M, offs_n < N
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
            acc = EPILOGUE(acc, args, (offs_m[:, None], offs_n[None, :]), mask)
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
    tile: Tile | None = None,
    target: str = "cpu",
) -> tuple[tuple[Launch, ...], TensorType | None]:
    """y [M,N] = epilogue(a [M,K] @ b [K,N]); sums [N], if given, gets b's column sums (second result).

    Returns the launches and the workspace they need: ((y, [sums], a, b, *args), None), or when K is split
    ((workspace, a, b), (y, [sums], workspace, *args)) with the workspace's type. Raises ShapeError, DTypeError.
    """
    check_rank("matmul", 2, y=y, a=a, b=b)
    check_floats("matmul", y=y, a=a, b=b, sums=sums)
    (M, K), (K_b, N) = a.shape, b.shape
    if K_b != K:
        raise ShapeError(f"matmul: b must have {K} rows, as a {list(a.shape)} has columns; got {list(b.shape)}")
    if a.dtype != b.dtype:
        raise DTypeError(f"matmul: b must be {a.dtype}, as a is; got {b.dtype}")
    check_shape("matmul", "y", y, (M, N), f"from a {list(a.shape)} and b {list(b.shape)}")
    if sums is not None:
        check_shape("matmul", "sums", sums, (N,), "one per column of b")
    tile = tile or pick_tile(M, N, K, target, dtype=a.dtype)
    parts = parts_type(y, sums, tile.SPLIT) if tile.SPLIT > 1 else None
    # Sums need a row of programs even when y has no rows.
    grid = (max(ceil_div(M, tile.BLOCK_M), int(sums is not None)), ceil_div(N, tile.BLOCK_N), tile.SPLIT)
    product = build(
        matmul_kernel,
        grid,
        {"y_ptr": parts or y, "sums_ptr": None if parts else sums, "a_ptr": a, "b_ptr": b},
        M=M, N=N, K=K, Y=y.strides, A=a.strides, B=b.strides, STRIDE_SUMS=sums.strides[0] if sums else 0,
        SUMS=int(sums is not None), BLOCK_M=tile.BLOCK_M, BLOCK_N=tile.BLOCK_N, BLOCK_K=tile.BLOCK_K, SPLIT=tile.SPLIT,
        slot=None if parts else epilogue,
        results=2 if sums and not parts else 1,
        flops=2 * M * N * K,
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )  # fmt: skip
    if parts is None:
        return (product,), None
    return (product, sum_parts(y, sums, parts, epilogue=epilogue, target=target)), parts
