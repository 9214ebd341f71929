"""reduce: y = sum, mean or max over any set of dims of x, or of an expression over several tensors (a slot); sum_pair: two sums.

Dims     kept and reduced dims are merged where strides allow (up to 4 of each remain), so any strides are right.
Mean     the first element, plus the mean of the distances from it: of equal elements exactly their value, and what all share
         is not rounded. Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", section 3.
Order    fixed: lanes of a tile add up element by element, then among themselves; a long reduction is split into parts that
         a second launch reduces. The same bits on every run and for any number of threads. NaN wins a max.
Tile     one program makes BLOCK_KEEP results, in steps of BLOCK_RED elements of each.
Traffic  x, or every operand of the expression, once.
Layout   any strides; fast: either the kept or the reduced dims contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, check_floats, check_shape, power_of_2, row_block
from tritoncnn.kernels.device import block_offsets, larger, program
from tritoncnn.kernels.dims import merge_dims, stretch
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.kernels.sum_parts import parts_type, sum_parts
from tritoncnn.kernels.target import Target

KINDS = ("sum", "mean", "max")


class Tile(NamedTuple):
    BLOCK_KEEP: int
    BLOCK_RED: int
    SPLIT: int = 1
    num_warps: int = 4


CPU_ELEMENTS = 4096
PROGRAMS = 16
SPLIT_MAX = 32
ROW_ELEMENTS, PART = 2048, 1 << 15  # of tiles of whole rows: elements of one, and of a part at least


def pick_tile(keep: int, red: int, lanes_reduced: bool, target: Target, run: int = 0) -> Tile:
    """Tile for ``keep`` results of ``red`` elements each, of which those of ``run`` results lie side by side in a row (0: not
    known). The split depends on sizes only, never on threads.

    On the CPU a program takes whole rows where it can, since memory is then read from front to back: pieces of 64 bytes of
    each row of 256 took five times as long, where they came from memory.
    """
    elements = CPU_ELEMENTS if target.kind == "cpu" else 2048
    if not lanes_reduced and target.kind == "cpu" and red >= 128 and (block_keep := _row_of(keep, run)):
        programs = ceil_div(keep, block_keep)
        block_red = min(power_of_2(red), max(ROW_ELEMENTS // block_keep, 1))
        split = min(PROGRAMS // programs, keep * red // PART, red // (2 * block_red), SPLIT_MAX)
        return Tile(block_keep, block_red, max(split, 1))
    if lanes_reduced:
        block_red = min(power_of_2(red), 1024)
        block_keep = row_block(keep, PROGRAMS, elements // block_red, 1)
    else:
        block_keep = row_block(keep, PROGRAMS, 256, min(power_of_2(keep), 16))
        block_red = min(power_of_2(red), elements // block_keep)
    split = min(PROGRAMS // max(ceil_div(keep, block_keep), 1), red // (4 * block_red), SPLIT_MAX)
    return Tile(block_keep, block_red, max(split, 1))


def _row_of(keep: int, run: int) -> int:
    """Lanes for rows of ``run`` results: all of one, if few are idle, else a power of two that cuts each evenly; 0: neither."""
    if not 32 <= run <= 1024:
        return 0
    if keep == run and 3 * power_of_2(run) <= 4 * run:
        return power_of_2(run)
    even = run & -run
    return even if even >= 64 else 0


@triton.jit
def _offset(offs, SIZES: tl.constexpr, STRIDES: tl.constexpr):
    """Memory offset of the offs-th element of dims of these sizes, the last one fastest."""
    d1, d2, d3 = SIZES[1], SIZES[2], SIZES[3]
    outer = offs // (d1 * d2 * d3) * STRIDES[0] + offs // (d2 * d3) % d1 * STRIDES[1]
    return outer + offs // d3 % d2 * STRIDES[2] + offs % d3 * STRIDES[3]


@triton.jit
def reduce_kernel(
    y_ptr, z_ptr, x_ptr, args,  # z_ptr: None for one sum; x_ptr: None where a slot computes the elements from args
    KEEP: tl.constexpr, RED: tl.constexpr,  # results; elements of each
    KEEP_SIZES: tl.constexpr, Y_KEEP: tl.constexpr, X_KEEP: tl.constexpr,  # kept dims: sizes, strides in y and in x
    RED_SIZES: tl.constexpr, X_RED: tl.constexpr,  # reduced dims
    WHOLE: tl.constexpr, MAX: tl.constexpr, SCALE: tl.constexpr,  # of i64; the largest, not the sum
    MEAN: tl.constexpr,  # distances from the first element are added up
    LANES_KEPT: tl.constexpr,  # lanes run over results, else over their elements
    EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_KEEP: tl.constexpr, BLOCK_RED: tl.constexpr, SPLIT: tl.constexpr,
    PAIR: tl.constexpr,  # the slot has two values, each is summed: at z_ptr, or after the first one's sums in a part
):  # fmt: skip
    part = program(1, GRID, WIDE)
    keep = block_offsets(program(0, GRID, WIDE) * BLOCK_KEEP, BLOCK_KEEP, WIDE)
    mask_keep = keep < KEEP
    base = keep if EPILOGUE is not None else _offset(keep, KEEP_SIZES, X_KEEP)
    ACC: tl.constexpr = tl.int64 if WHOLE else tl.float32
    LOWEST: tl.constexpr = -(2**63) if WHOLE else float("-inf")
    EMPTY: tl.constexpr = LOWEST if MAX else 0
    STEPS: tl.constexpr = ((RED + BLOCK_RED - 1) // BLOCK_RED + SPLIT - 1) // SPLIT  # of BLOCK_RED, in a part
    if SPLIT == 1:
        first = 0
    else:
        first = part * (STEPS * BLOCK_RED)
    # Lanes, the last axis of the tile, run over what lies side by side.
    AXIS: tl.constexpr = 0 if LANES_KEPT else 1  # of the reduced elements
    acc = tl.full((BLOCK_RED, BLOCK_KEEP) if LANES_KEPT else (BLOCK_KEEP, BLOCK_RED), EMPTY, ACC)
    if PAIR:
        acc_z = acc
    base_2d, mask_2d = tl.expand_dims(base, AXIS), tl.expand_dims(mask_keep, AXIS)
    keep_2d = tl.expand_dims(keep, AXIS)
    origin = tl.zeros((BLOCK_KEEP,), tl.float32)
    if MEAN:
        if EPILOGUE is None:
            origin = tl.load(x_ptr + base, mask=mask_keep, other=0.0).to(tl.float32)
        else:
            k0, k1 = keep_2d * 0, keep_2d
            if KEEP_SIZES[2] > 1:
                k0, k1 = keep_2d // KEEP_SIZES[3], keep_2d % KEEP_SIZES[3]
            one = EPILOGUE(0.0, args, (k0, k1, keep_2d * 0, keep_2d * 0), mask_2d)
            origin = tl.sum(tl.where(mask_2d, one, 0.0), AXIS)  # over one element
        origin = tl.where(tl.abs(origin) < float("inf"), origin, 0.0)  # infinity minus infinity would be NaN
    origin_2d = tl.expand_dims(origin, AXIS)
    for step in range(0, STEPS):
        red = tl.expand_dims(block_offsets(first + step * BLOCK_RED, BLOCK_RED, WIDE), 1 - AXIS)
        mask = mask_2d & (red < RED)
        if EPILOGUE is None:
            x = tl.load(x_ptr + base_2d + _offset(red, RED_SIZES, X_RED), mask=mask, other=EMPTY).to(ACC)
        else:
            # Where there is one dim, its index is not taken modulo its size: nothing would know that this changes nothing.
            k0, k1 = keep_2d * 0, keep_2d
            r0, r1 = red * 0, red
            if KEEP_SIZES[2] > 1:
                k0, k1 = keep_2d // KEEP_SIZES[3], keep_2d % KEEP_SIZES[3]
            if RED_SIZES[2] > 1:
                r0, r1 = red // RED_SIZES[3], red % RED_SIZES[3]
            x = EPILOGUE(0.0, args, (k0, k1, r0, r1), mask)
            if PAIR:
                acc_z += tl.where(mask, x[1].to(ACC), EMPTY)
                x = x[0]
            x = tl.where(mask, x.to(ACC), EMPTY)
        if MAX:
            acc = larger(acc, x)
        elif MEAN:
            acc += tl.where(mask, x - origin_2d, 0.0)
        else:
            acc += x
    if MAX:
        y = tl.reduce(acc, AXIS, larger)
    else:
        y = tl.sum(acc, AXIS)
        if SCALE != 1.0:
            y *= SCALE
        if MEAN:
            y += origin
    offs_y = _offset(keep, KEEP_SIZES, Y_KEEP)
    if PAIR:
        if z_ptr is None:
            tl.store(y_ptr + (part * 2 + 1) * KEEP + offs_y, tl.sum(acc_z, AXIS), mask=mask_keep)
            part *= 2
        else:
            tl.store(z_ptr + offs_y, tl.sum(acc_z, AXIS), mask=mask_keep)
    tl.store(y_ptr + part * KEEP + offs_y, y, mask=mask_keep)


def _four(op: str, dims: list[tuple[int, list[int]]], tensors: int) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Sizes and, for each tensor, strides of dims filled up to four. Raises UnsupportedError when there are more."""
    if len(dims) > 4:
        raise UnsupportedError(
            f"{op}: at most 4 dims that cannot be merged may be kept, or reduced; got {[size for size, _ in dims]}"
        )
    filled = [(1, [0] * tensors)] * (4 - len(dims)) + dims
    return tuple(size for size, _ in filled), [tuple(strides[j] for _, strides in filled) for j in range(tensors)]


class Walk(NamedTuple):
    """How an expression over ``operands`` is reduced: at most two kept and two reduced dims, merged, are walked.

    y         the result in dims k0, k1
    out       type of the whole expression, dims k0, k1, r0, r1: what its slot is made for
    operands  the slot's operands, in these dims
    """

    y: TensorType
    out: TensorType
    operands: tuple[TensorType, ...]


def walk_dims(
    y: TensorType, operands: Sequence[TensorType], shape: tuple[int, ...], dims: Sequence[int]
) -> Walk | None:
    """The merged dims of an expression of ``shape`` reduced over ``dims``; None when more than two of a kind remain."""
    stretched = [stretch(operand, shape) for operand in operands]
    kept = [d for d in range(len(shape)) if d not in dims]

    def part(t: TensorType, chosen: Sequence[int]) -> TensorType:
        return TensorType(t.dtype, tuple(t.shape[d] for d in chosen), tuple(t.strides[d] for d in chosen))

    full = max(range(len(operands)), key=lambda j: sum(s != 0 for s in stretched[j].strides), default=0)
    order = [stretched[full], *stretched]  # merged in the memory order of the operand with most dims
    keep_merged = merge_dims([*(part(t, kept) for t in order), y])
    red_merged = merge_dims([part(t, dims) for t in order])
    if len(keep_merged) > 2 or len(red_merged) > 2:
        return None
    walked = [(1, [0] * (len(order) + 1))] * (2 - len(keep_merged)) + keep_merged
    walked += [(1, [0] * (len(order) + 1))] * (2 - len(red_merged)) + [(n, [*strides, 0]) for n, strides in red_merged]
    sizes = tuple(size for size, _ in walked)

    def rebuilt(j: int, dtype: str) -> TensorType:
        strides = tuple(strides[j] for _, strides in walked)
        return TensorType(dtype, tuple(n if s else 1 for n, s in zip(sizes, strides, strict=True)), strides)

    return Walk(
        TensorType(y.dtype, sizes[:2], tuple(strides[-1] for _, strides in walked[:2])),
        TensorType.dense(operands[full].dtype, sizes),
        tuple(rebuilt(j, t.dtype) for j, t in enumerate(operands, 1)),
    )


def _check_dtypes(kind: str, *tensors: TensorType) -> None:
    """Floats, or i64 throughout for a sum and a max. Raises DTypeError."""
    whole = [tensor.dtype == "i64" for tensor in tensors]
    if not all(whole) or kind == "mean":
        check_floats(kind, **dict(zip(("y", "x"), tensors, strict=False)))


def reduce(
    y: TensorType,
    x: TensorType | None,
    dims: Sequence[int],
    *,
    kind: str = "sum",
    slot: Slot | None = None,
    walk: Walk | None = None,
    tile: Tile | None = None,
    target: Target,
) -> tuple[tuple[Launch, ...], TensorType | None]:
    """y = sum, mean or max of x over ``dims``, which vanish from the shape.

    Instead of x, a ``slot`` made for a ``walk`` computes the elements from its operands; ``dims`` are then the walk's.
    Returns the launches and the workspace they need: ((y, x), None), or for a long reduction ((workspace, x), (y, workspace))
    with the workspace's type. Of no elements the sum is 0, the mean NaN, the max -inf. i64 adds up in i64.
    Raises ShapeError, DTypeError, UnsupportedError.
    """
    if kind not in KINDS:
        raise ShapeError(f"reduce: kind must be one of {', '.join(KINDS)}; got {kind!r}")
    if walk is not None:
        assert slot is not None
        _check_dtypes(kind, y)
        y, (K0, K1, R0, R1) = walk.y, walk.out.shape
        keep, red = K0 * K1, R0 * R1
        red_sizes: tuple[int, ...] = (1, 1, R0, R1)
        strides_red: tuple[int, ...] = (0, 0, 0, 0)
        lanes_reduced = _lanes_reduced(walk, keep)
        run = _run(walk)
    else:
        assert x is not None
        _check_dtypes(kind, y, x)
        if len(set(dims)) != len(dims) or any(not 0 <= d < x.rank for d in dims):
            raise ShapeError(f"{kind}: dims must be different dims of x {list(x.shape)}; got {list(dims)}")
        kept = [d for d in range(x.rank) if d not in dims]
        check_shape(kind, "y", y, tuple(x.shape[d] for d in kept), f"from x {list(x.shape)} without dims {list(dims)}")
        x_keep = TensorType(x.dtype, y.shape, tuple(x.strides[d] for d in kept))
        x_red = TensorType(x.dtype, tuple(x.shape[d] for d in dims), tuple(x.strides[d] for d in dims))
        keep, red = y.numel, x_red.numel
        red_sizes, (strides_red,) = _four(kind, merge_dims([x_red]), 1)
        lanes_reduced = strides_red[3] == 1
        inner = merge_dims([x_keep])
        run = inner[-1][0] if inner and inner[-1][1] == [1] else 0
    tile = tile or pick_tile(keep, red, lanes_reduced, target, run)
    wide = "i64" if y.dtype == "i64" else "f32"
    parts = TensorType.dense(wide, (tile.SPLIT, *y.shape)) if tile.SPLIT > 1 else None
    written = y if parts is None else TensorType(wide, y.shape, parts.strides[1:])
    if walk is not None:
        keep_sizes: tuple[int, ...] = (1, 1, *y.shape)
        strides_x: tuple[int, ...] = (0, 0, 0, 0)
        strides_y: tuple[int, ...] = (0, 0, *written.strides)
    else:
        keep_sizes, (strides_x, strides_y) = _four(kind, merge_dims([x_keep, written]), 2)
    # Each of the parts of a mean is as if it had all elements, so that their mean is the whole's.
    scale = 1.0 if kind != "mean" else tile.SPLIT / red if red else float("nan")
    launch = build(
        reduce_kernel,
        (ceil_div(keep, tile.BLOCK_KEEP), tile.SPLIT),
        {"y_ptr": parts or y, "z_ptr": None, "x_ptr": x},
        KEEP=keep, RED=red, KEEP_SIZES=keep_sizes, Y_KEEP=strides_y, X_KEEP=strides_x, RED_SIZES=red_sizes,
        X_RED=strides_red, WHOLE=y.dtype == "i64", MAX=kind == "max", SCALE=scale, MEAN=kind == "mean" and red > 0,
        LANES_KEPT=not lanes_reduced, PAIR=False,
        slot=slot,
        flops=keep * red,
        **tile._asdict(),
    )  # fmt: skip
    if parts is None:
        return (launch,), None
    one = pick_tile(keep, tile.SPLIT, lanes_reduced=False, target=target)._replace(SPLIT=1)
    ((second,), _) = reduce(y, parts, (0,), kind=kind, tile=one, target=target)
    return (launch, second), parts


def sum_pair(
    y: TensorType, z: TensorType, *, slot: Slot, walk: Walk, tile: Tile | None = None, target: Target
) -> tuple[tuple[Launch, ...], TensorType | None]:
    """y and z, of one dense type, are the sums of the two expressions of a slot made for a ``walk``: operands are read once.

    Returns as ``reduce`` does: ((y, z, ...), None), or ((workspace, ...), (y, z, workspace)). Raises ShapeError, DTypeError.
    """
    _check_dtypes("sum", y)
    if y != z or not y.is_row_major or y.dtype != "f32":
        raise ShapeError(f"sum: two sums must be of one dense type in f32; got {y} and {z}")
    K0, K1, R0, R1 = walk.out.shape
    keep, red = K0 * K1, R0 * R1
    tile = tile or pick_tile(keep, red, _lanes_reduced(walk, keep), target, _run(walk))
    flat = TensorType.dense("f32", (keep,))
    parts = parts_type(flat, flat, tile.SPLIT) if tile.SPLIT > 1 else None
    launch = build(
        reduce_kernel,
        (ceil_div(keep, tile.BLOCK_KEEP), tile.SPLIT),
        {"y_ptr": parts or y, "z_ptr": None if parts else z, "x_ptr": None},
        KEEP=keep, RED=red, KEEP_SIZES=(1, 1, K0, K1), Y_KEEP=(0, 0, *walk.y.strides), X_KEEP=(0, 0, 0, 0),
        RED_SIZES=(1, 1, R0, R1), X_RED=(0, 0, 0, 0), LANES_KEPT=not _lanes_reduced(walk, keep),
        WHOLE=False, MAX=False, SCALE=1.0, MEAN=False, PAIR=True,
        slot=slot,
        results=1 if parts else 2,
        flops=2 * keep * red,
        **tile._asdict(),
    )  # fmt: skip
    return ((launch,), None) if parts is None else ((launch, sum_parts(flat, flat, parts, target=target)), parts)


def _lanes_reduced(walk: Walk, keep: int) -> bool:
    """Do lanes run over the elements of a result, not over results?"""
    return any(t.strides[3] == 1 and t.shape[3] > 1 for t in walk.operands) or keep == 1


def _run(walk: Walk) -> int:
    """How many results lie side by side in some operand: the inner kept dim, or 0."""
    return walk.out.shape[1] if any(t.strides[1] == 1 and t.shape[1] > 1 for t in walk.operands) else 0


def reduce_torch(x: torch.Tensor, dims: Sequence[int], kind: str = "sum") -> torch.Tensor:
    """What reduce means, in plain torch."""
    if kind == "max":
        return x.amax(tuple(dims))
    return x.sum(tuple(dims)) if kind == "sum" else x.mean(tuple(dims))
