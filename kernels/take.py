"""take: y[.., p, ..] = sum (or max) over taps t of w[t,p] * x[.., index[t,p], ..] along a dim; put: its adjoint.

Serves   resizing, padding, flips, adaptive pools (indices and weights are tables of the plan); gather, embedding, unpooling
         (the index is a tensor, which may be stretched along the other dims).
Absent   an index outside x names no element: OUTSIDE (0 unless said otherwise), nothing in a sum or a max. It is masked, so
         a NaN of x never leaks.
Order    taps add up one after another in f32; put adds in the order of the index. The same bits on every run.
Dims     the other dims are merged where strides allow; up to 5 dims remain.
Tile     one program makes BLOCK_ROWS rows (all dims but y's innermost) of BLOCK_LANES lanes. In put a program walks along
         the dim alone, for as many rows and lanes of the other dims, so that no two programs write one element.
Traffic  take: y once, x TAPS times from cache. put: y and the operands once.
Layout   any strides; fast: another dim than the indexed one contiguous in all.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, check_floats, check_shape
from tritoncnn.kernels.device import block_offsets, five_coordinates, five_offset, larger, program, row_offset
from tritoncnn.kernels.dims import five_dims, merge_dims, stretch, without_dim
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.pointwise import Tile, pick_tile
from tritoncnn.kernels.target import Target

INDEX_TYPES = ("i64", "i32", "u8")
JOINS = ("sum", "last", "max", "product")  # what becomes of entries that put brings to one place


@triton.jit
def _load_index(ptr, mask, LENGTH: tl.constexpr, WIDE: tl.constexpr):
    """(index, whether it names an element); 0 where it does not."""
    index = tl.load(ptr, mask=mask, other=0)
    if index.dtype == tl.uint8:
        index = index.to(tl.int32)
    inside = mask & (index >= 0) & (index < LENGTH)
    return tl.where(inside, index, 0).to(tl.int64 if WIDE else tl.int32), inside


@triton.jit
def _widen(x):
    """Floats as f32, in which sums and comparisons are made; whole numbers as they are."""
    return x.to(tl.float32) if x.dtype.is_floating() else x


@triton.jit
def take_kernel(
    y_ptr, at_ptr, x_ptr, i_ptr, w_ptr,
    ROWS: tl.constexpr, SIZES: tl.constexpr,  # rows; the five dims
    Y: tl.constexpr, AT: tl.constexpr, X: tl.constexpr, I: tl.constexpr,  # memory strides of the five; 0 for X's indexed dim
    LENGTH: tl.constexpr, STEP: tl.constexpr,  # size and stride of x's indexed dim
    TAPS: tl.constexpr, TAP_STEP: tl.constexpr, MAX: tl.constexpr, FIRST: tl.constexpr, OUTSIDE: tl.constexpr,
    GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_LANES: tl.constexpr,
):  # fmt: skip
    rows = block_offsets(program(0, GRID, WIDE) * BLOCK_ROWS, BLOCK_ROWS, WIDE)
    lanes = block_offsets(program(1, GRID, WIDE) * BLOCK_LANES, BLOCK_LANES, WIDE)
    mask = (rows < ROWS)[:, None] & (lanes < SIZES[4])[None, :]
    i = five_coordinates(rows, lanes, SIZES)
    offs_x = five_offset(i, X)
    if I[4] == 0:  # one index for all lanes of a row
        offs_i, known = row_offset(i, I), (rows < ROWS)[:, None]
    else:
        offs_i, known = five_offset(i, I), mask
    if TAPS == 1 and w_ptr is None and not MAX:
        index, inside = _load_index(i_ptr + offs_i, known, LENGTH, WIDE)
        value = tl.load(x_ptr + offs_x + index * STEP, mask=inside & mask, other=OUTSIDE)
    else:
        # What a maximum starts from is never seen where there is a tap; whole numbers always have one.
        EMPTY: tl.constexpr = float("-inf") if MAX and x_ptr.dtype.element_ty.is_floating() else 0
        value = _widen(tl.full((BLOCK_ROWS, BLOCK_LANES), EMPTY, x_ptr.dtype.element_ty))
        best = tl.full((BLOCK_ROWS, BLOCK_LANES), -1, tl.int64 if WIDE else tl.int32)
        for tap in range(0, TAPS):
            index, inside = _load_index(i_ptr + offs_i + tap * TAP_STEP, known, LENGTH, WIDE)
            x = _widen(tl.load(x_ptr + offs_x + index * STEP, mask=inside & mask, other=0))
            if MAX:
                nan = (x != x) & (value == value) if FIRST else x != x
                wins = inside & ((best < 0) | (x > value) | nan)
                value = tl.where(wins, x, value)
                best = tl.where(wins, index, best)
            elif w_ptr is None:
                value += x
            else:
                value += x * tl.load(w_ptr + offs_i + tap * TAP_STEP, mask=known, other=0)
        if MAX:
            tl.store(at_ptr + five_offset(i, AT), best.to(tl.int64), mask=mask)
    tl.store(y_ptr + five_offset(i, Y), value, mask=mask)


@triton.jit
def put_kernel(
    y_ptr, x_ptr, i_ptr, base_ptr,
    ROWS: tl.constexpr, SIZES: tl.constexpr,  # of the other dims
    Y: tl.constexpr, X: tl.constexpr, I: tl.constexpr, BASE: tl.constexpr,  # memory strides of the other dims
    LENGTH: tl.constexpr, STEP: tl.constexpr, BASE_STEP: tl.constexpr,  # size of y's indexed dim, its stride in y and base
    COUNT: tl.constexpr, X_STEP: tl.constexpr, I_STEP: tl.constexpr,  # size of x's indexed dim, and strides
    JOIN: tl.constexpr, SKIP: tl.constexpr, KEPT: tl.constexpr,  # one of JOINS; an index; whether y's numbers stay
    GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_LANES: tl.constexpr,
):  # fmt: skip
    rows = block_offsets(program(0, GRID, WIDE) * BLOCK_ROWS, BLOCK_ROWS, WIDE)
    lanes = block_offsets(program(1, GRID, WIDE) * BLOCK_LANES, BLOCK_LANES, WIDE)
    mask = (rows < ROWS)[:, None] & (lanes < SIZES[4])[None, :]
    i = five_coordinates(rows, lanes, SIZES)
    offs_y, offs_x = five_offset(i, Y), five_offset(i, X)
    if I[4] == 0:  # as in take
        offs_i, known = row_offset(i, I), (rows < ROWS)[:, None]
    else:
        offs_i, known = five_offset(i, I), mask
    zeros = tl.zeros((BLOCK_ROWS, BLOCK_LANES), y_ptr.dtype.element_ty)
    if not KEPT:
        for place in range(0, LENGTH):
            if base_ptr is None:
                first = zeros
            else:
                first = tl.load(base_ptr + five_offset(i, BASE) + place * BASE_STEP, mask=mask, other=0)
            tl.store(y_ptr + offs_y + place * STEP, first, mask=mask)
    # A lane writes and reads only elements of its own, in order: no atomics, no barrier.
    for entry in range(0, COUNT):
        index, inside = _load_index(i_ptr + offs_i + entry * I_STEP, known, LENGTH, WIDE)
        inside = inside & mask
        if SKIP is not None:
            inside = inside & (index != SKIP)
        offs = offs_y + index * STEP
        x = _widen(tl.load(x_ptr + offs_x + entry * X_STEP, mask=inside, other=0))
        if JOIN != "last":
            there = _widen(tl.load(y_ptr + offs, mask=inside, other=0))
            if JOIN == "sum":
                x += there
            elif JOIN == "max":
                x = larger(there, x)
            else:
                x *= there
        tl.store(y_ptr + offs, x, mask=inside)


def take(
    y: TensorType, x: TensorType, index: TensorType, dim: int, *, weight: TensorType | None = None,
    at: TensorType | None = None, taps: bool = False, first: bool = False, outside: float = 0,
    tile: Tile | None = None, target: Target,
) -> Launch:  # fmt: skip
    """y = x taken at ``index`` along ``dim``.

    index  of y's rank, broadcast to y; or with ``taps`` [T, size of y along dim], the same for all else
    weight of the same type as a table of taps; None: 1
    at     i64 of y's shape: makes y the maximum over the taps, and ``at`` the index that held it
    first  of several NaN the first is the maximum, else the last
    outside what an index that names no element gives, where the index is a tensor and not taps
    Raises ShapeError, DTypeError, UnsupportedError.
    """
    op = "take"
    if index.dtype not in INDEX_TYPES:
        raise DTypeError(f"{op}: index must be one of {', '.join(INDEX_TYPES)}; got {index.dtype}")
    if y.dtype != x.dtype:
        raise DTypeError(f"{op}: y must be {x.dtype}, as x is; got {y.dtype}")
    wanted = y.shape[:dim] + x.shape[dim : dim + 1] + y.shape[dim + 1 :]
    count = index.shape[0] if taps else 1
    if taps:
        check_shape(op, "index", index, (count, y.shape[dim]), "taps for each place along dim")
        index_strides = tuple(index.strides[1] if d == dim else 0 for d in range(y.rank))
    else:
        index_strides = stretch(index, y.shape).strides
    tensors = [y, at or y, stretch(x, wanted), TensorType("i64", y.shape, index_strides)]
    if at is None and (count != 1 or weight is not None):
        check_floats(op, y=y, x=x)
    dims = merge_dims([without_dim(t, dim) for t in tensors])
    if y.shape[dim] != 1:
        dims.append((y.shape[dim], [y.strides[dim], tensors[1].strides[dim], 0, index_strides[dim]]))
    dims.sort(key=lambda dim: -abs(dim[1][0]))
    sizes, (y_strides, at_strides, x_strides, i_strides) = five_dims(op, dims, 4)
    rows = y.numel // max(sizes[4], 1)
    tile = tile or pick_tile(rows, sizes[4], target)
    return build(
        take_kernel,
        (ceil_div(rows, tile.BLOCK_ROWS), ceil_div(sizes[4], tile.BLOCK_LANES)),
        {"y_ptr": y, "at_ptr": at, "x_ptr": x, "i_ptr": index, "w_ptr": weight},
        ROWS=rows, SIZES=sizes, Y=y_strides, AT=at_strides, X=x_strides, I=i_strides, LENGTH=x.shape[dim],
        STEP=x.strides[dim], TAPS=count, TAP_STEP=index.strides[0] if taps else 0, MAX=at is not None, FIRST=first,
        OUTSIDE=outside, **tile._asdict(),
        results=1 if at is None else 2,
        flops=y.numel * count,
    )  # fmt: skip


def put(
    y: TensorType, x: TensorType, index: TensorType, dim: int, *, base: TensorType | None = None, join: str = "sum",
    skip: int | None = None, kept: bool = False, tile: Tile | None = None, target: Target,
) -> Launch:  # fmt: skip
    """y = zeros, then y[.., index[.., j, ..], ..] is joined with x[.., j, ..] for each j; not where index is ``skip``.

    base   what y is at first, in place of zeros
    kept   y holds numbers already, and those stay
    join   one of JOINS
    The index broadcasts to x. Raises ShapeError, DTypeError, UnsupportedError.
    """
    assert join in JOINS
    if x.is_float:
        check_floats("put", y=y, x=x)
    elif y.dtype != x.dtype:
        raise DTypeError(f"put: y must be {x.dtype}, as x is; got {y.dtype}")
    if join == "sum" and y.dtype != "f32" and (x.is_float or x.dtype == "i1"):
        raise DTypeError(f"put: y must be f32, in which sums are exact enough, or whole numbers; got {y.dtype}")
    if index.dtype not in INDEX_TYPES:
        raise DTypeError(f"put: index must be one of {', '.join(INDEX_TYPES)}; got {index.dtype}")
    wanted = x.shape[:dim] + y.shape[dim : dim + 1] + x.shape[dim + 1 :]
    if y.shape != wanted:
        raise ShapeError(f"put: y must be {list(wanted)}, from x {list(x.shape)}; got {list(y.shape)}")
    if base is not None and (base.shape, base.dtype) != (y.shape, y.dtype):
        raise ShapeError(f"put: base must be {y.dtype} {list(y.shape)}, as y is; got {base.dtype} {list(base.shape)}")
    full = stretch(index, x.shape)
    others = merge_dims([without_dim(t, dim) for t in (y, x, full, base or y)])
    sizes, (y_strides, x_strides, i_strides, base_strides) = five_dims("put", others, 4)
    lanes, count = sizes[4], x.shape[dim]
    rows = without_dim(x, dim).numel // max(lanes, 1)
    picked = pick_tile(rows, lanes, target)
    tile = tile or picked._replace(BLOCK_LANES=min(64, picked.BLOCK_LANES))
    return build(
        put_kernel,
        (ceil_div(rows, tile.BLOCK_ROWS), ceil_div(lanes, tile.BLOCK_LANES)),
        {"y_ptr": y, "x_ptr": x, "i_ptr": index, "base_ptr": base},
        ROWS=rows, SIZES=sizes, Y=y_strides, X=x_strides, I=i_strides, BASE=base_strides, LENGTH=y.shape[dim],
        STEP=y.strides[dim], BASE_STEP=(base or y).strides[dim], COUNT=count, X_STEP=x.strides[dim],
        I_STEP=full.strides[dim], JOIN=join, SKIP=skip, KEPT=kept,
        flops=x.numel,
        **tile._asdict(),
    )  # fmt: skip
