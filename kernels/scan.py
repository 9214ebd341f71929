"""scan: y[.., p, ..] = the sum, product, largest, or logarithm of the sum of exponentials of x[.., q, ..] over q up to p along a
dim; or from p on, or without q = p.

Order    one element after another, in f64 (whole numbers in i64), rounded at each store: the same bits on every run.
Tile     a program walks along the dim alone, for BLOCK_ROWS x BLOCK_LANES places of the other dims.
Traffic  x once, y once.
Layout   any strides; fast: another dim than the walked one contiguous.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build, ceil_div, check_shape
from tritoncnn.kernels.device import block_offsets, five_coordinates, five_offset, larger, program
from tritoncnn.kernels.dims import five_dims, merge_dims, without_dim
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.pointwise import Tile, pick_tile
from tritoncnn.kernels.target import Target

KINDS = ("sum", "prod", "max", "logsumexp")  # a NaN is the largest from there on
LANES = 64  # at most, so that the lines of a program's x and y stay near


@triton.jit
def log_add(a, b):
    """log(exp(a) + exp(b)), of infinities too."""
    most = larger(a, b)
    gap = tl.where(a == b, 0.0, -tl.abs(a - b))
    return tl.where(tl.abs(most) == float("inf"), most, most + tl.log(1.0 + tl.exp(gap)))


@triton.jit
def scan_kernel(
    y_ptr, x_ptr,
    ROWS: tl.constexpr, SIZES: tl.constexpr,  # of the other dims
    Y: tl.constexpr, X: tl.constexpr,  # memory strides of the other dims
    LENGTH: tl.constexpr, Y_STEP: tl.constexpr, X_STEP: tl.constexpr,  # size of the walked dim, and strides
    KIND: tl.constexpr, REVERSE: tl.constexpr, EXCLUSIVE: tl.constexpr,
    GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_LANES: tl.constexpr,
):  # fmt: skip
    rows = block_offsets(program(0, GRID, WIDE) * BLOCK_ROWS, BLOCK_ROWS, WIDE)
    lanes = block_offsets(program(1, GRID, WIDE) * BLOCK_LANES, BLOCK_LANES, WIDE)
    mask = (rows < ROWS)[:, None] & (lanes < SIZES[4])[None, :]
    i = five_coordinates(rows, lanes, SIZES)
    line_y, line_x = y_ptr + five_offset(i, Y), x_ptr + five_offset(i, X)
    WIDEST: tl.constexpr = tl.float64 if x_ptr.dtype.element_ty.is_floating() else tl.int64
    if KIND == "prod":
        total = tl.full((BLOCK_ROWS, BLOCK_LANES), 1, WIDEST)
    elif KIND == "sum":
        total = tl.full((BLOCK_ROWS, BLOCK_LANES), 0, WIDEST)
    elif x_ptr.dtype.element_ty.is_floating():
        total = tl.full((BLOCK_ROWS, BLOCK_LANES), float("-inf"), WIDEST)
    else:
        total = tl.full((BLOCK_ROWS, BLOCK_LANES), -9223372036854775808, WIDEST)
    for step in range(0, LENGTH):
        place = LENGTH - 1 - step if REVERSE else step
        x = tl.load(line_x + place * X_STEP, mask=mask, other=0).to(WIDEST)
        if EXCLUSIVE:
            tl.store(line_y + place * Y_STEP, total, mask=mask)
        if KIND == "prod":
            total *= x
        elif KIND == "sum":
            total += x
        elif KIND == "max":
            total = larger(total, x) if tl.float64 == WIDEST else tl.maximum(total, x)
        else:
            total = log_add(total, x)
        if not EXCLUSIVE:
            tl.store(line_y + place * Y_STEP, total, mask=mask)


def scan(
    y: TensorType, x: TensorType, dim: int, *, kind: str = "sum", reverse: bool = False, exclusive: bool = False,
    tile: Tile | None = None, target: Target,
) -> Launch:  # fmt: skip
    """y = what ``kind`` says of x so far along ``dim``, from its end with ``reverse``, without the place with ``exclusive``.

    y is of x's dtype, or i64 for whole numbers. Raises ShapeError, DTypeError, UnsupportedError.
    """
    if kind not in KINDS:
        raise ShapeError(f"scan: kind must be one of {', '.join(KINDS)}; got {kind!r}")
    if kind == "logsumexp" and not x.is_float:
        raise DTypeError(f"scan: x must hold floats for logsumexp; got {x.dtype}")
    if y.dtype != (x.dtype if x.is_float else "i64"):
        raise DTypeError(f"scan: y must be {x.dtype if x.is_float else 'i64'} for x {x.dtype}; got {y.dtype}")
    check_shape("scan", "y", y, x.shape, "as x is")
    others = merge_dims([without_dim(t, dim) for t in (y, x)])
    sizes, (y_strides, x_strides) = five_dims("scan", others, 2)
    rows = without_dim(x, dim).numel // max(sizes[4], 1)
    tile = tile or pick_tile(rows, sizes[4], target)
    tile = tile._replace(BLOCK_LANES=min(LANES, tile.BLOCK_LANES))
    return build(
        scan_kernel,
        (ceil_div(rows, tile.BLOCK_ROWS), ceil_div(sizes[4], tile.BLOCK_LANES)),
        {"y_ptr": y, "x_ptr": x},
        ROWS=rows, SIZES=sizes, Y=y_strides, X=x_strides, LENGTH=x.shape[dim], Y_STEP=y.strides[dim],
        X_STEP=x.strides[dim], KIND=kind, REVERSE=reverse, EXCLUSIVE=exclusive,
        flops=x.numel,
        **tile._asdict(),
    )  # fmt: skip
