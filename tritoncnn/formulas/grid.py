"""Sampling at places that a grid names, in terms of our ops: grid_sample and affine_grid.

A sample is a weighted sum of taps, of which each axis has one (nearest), two (linear) or four (cubic). The taps of an
axis lie at whole offsets from one pixel, and their weights are polynomials of the way from that pixel to the place, so
one formula serves all modes. Gradients follow by themselves: of x by ``put``, whose sums run in a fixed order.
Source of the rules: torch's aten/src/ATen/native/GridSamplerUtils.h.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.formulas.dtypes import narrow, widen
from tritoncnn.ops import OPS
from tritoncnn.ops.table import table_for

op = OPS

MODES = ("bilinear", "nearest", "bicubic")  # by torch's number
PADDINGS = ("zeros", "border", "reflection")


class Taps(NamedTuple):
    """offsets      of the taps from the first pixel
    coefficients of each tap's weight: a polynomial of the place's distance from that pixel, the constant first
    """

    offsets: tuple[int, ...]
    coefficients: tuple[tuple[float, ...], ...]


A = -0.75  # of Keys' cubic convolution
TAPS = {
    "nearest": Taps((0,), ((1.0,),)),
    "bilinear": Taps((0, 1), ((1.0, -1.0), (0.0, 1.0))),
    "bicubic": Taps((-1, 0, 1, 2), (
        (0.0, A, -2 * A, A), (1.0, 0.0, -(A + 3), A + 2), (0.0, -A, 2 * A + 3, -(A + 2)), (0.0, 0.0, A, -A),
    )),
}  # fmt: skip


def _check(x: Any, grid: Any, mode: str) -> int:
    """How many axes of pixels there are. Raises ShapeError, UnsupportedError."""
    axes = len(x.shape) - 2
    if axes not in (2, 3):
        raise ShapeError(f"grid_sample: x must be [N, C, H, W] or [N, C, D, H, W]; got {list(x.shape)}")
    wanted = f"[{x.shape[0]}, {'D, ' * (axes - 2)}H, W, {axes}]"
    if len(grid.shape) != axes + 2 or grid.shape[0] != x.shape[0] or grid.shape[-1] != axes:
        raise ShapeError(f"grid_sample: grid must be {wanted} for x {list(x.shape)}; got {list(grid.shape)}")
    if 0 in x.shape[2:]:
        raise ShapeError(f"grid_sample: x must have at least 1 pixel along every axis; got {list(x.shape)}")
    if mode == "bicubic" and axes != 2:
        raise UnsupportedError(f"grid_sample with mode 'bicubic' of {axes} axes")
    return axes


Number = Any  # a float, or a tensor of one per axis


def _clip(place: Any, last: Number) -> Any:
    """The place moved to the nearest pixel of 0..last; no gradient there, nor on the bounds. NaN becomes 0."""
    return op["where"](place > 0.0, op["where"](op["ge"](place, last), last, place), 0.0)


def _reflect(place: Any, low: float, span: Number, turn: Number) -> Any:
    """The place thrown back at ``low`` and at ``low + span``; ``turn`` is 1 / span."""
    way = place - low
    way = op["where"](way < 0.0, -way, way)
    turns = op["floor"](way * turn)
    rest = way - turns * span
    odd = turns - op["floor"](turns * 0.5) * 2.0
    return op["where"](odd > 0.5, span - rest, rest) + low


def _pad(place: Any, sizes: Sequence[int], padding: str, align_corners: bool) -> Any:
    """Places, or pixels, after padding: along several axes in the last dim, or along one.

    They are reflected at the outermost pixels' centres, or without ``align_corners`` at their outer edges.
    """

    def number(values: Sequence[float]) -> Number:
        return table_for(place, values, (len(values),), "f32") if len(values) > 1 else float(values[0])

    if padding == "reflection":
        spans = [max(n - align_corners, 1) for n in sizes]
        place = _reflect(place, 0.0 if align_corners else -0.5, number(spans), number([1 / span for span in spans]))
    return place if padding == "zeros" else _clip(place, number([n - 1 for n in sizes]))


def _round(place: Any) -> Any:
    """The nearest whole number, the even one of two."""
    below = op["floor"](place)
    part = place - below
    odd = below - op["floor"](below * 0.5) * 2.0
    return below + op["where"](part > 0.5, 1.0, op["where"](op["eq"](part, 0.5), odd, 0.0))


def _weight(part: Any, coefficients: Sequence[Sequence[float]], shape: tuple[int, ...]) -> Any:
    """The polynomials of ``part``, one per tap, by Horner's rule; ``shape`` says in which dim the taps are."""
    weight: Any = None
    for power in reversed(range(len(coefficients[0]))):
        numbers = table_for(part, [c[power] for c in coefficients], shape, "f32")
        weight = numbers if weight is None else weight * part + numbers
    return weight


def _number(pixels: Sequence[Any], sizes: Sequence[int]) -> Any:
    """Which pixel of the picture, counted row by row, lies at ``pixels``, one tensor per axis; -1 for none."""
    like = pixels[0]
    number: Any = None
    for pixel, n in zip(pixels, sizes, strict=True):
        whole = op["cast_i64"](pixel)
        number = whole if number is None else number * table_for(like, (n,), (), "i64") + whole
    nowhere = table_for(like, (-1,), (), "i64")
    for pixel, n in zip(pixels, sizes, strict=True):
        number = op["where"](op["ge"](pixel, 0.0), op["where"](op["le"](pixel, float(n - 1)), number, nowhere), nowhere)
    return number


def grid_sample(
    x: Any, grid: Any, mode: str | int = "bilinear", padding: str | int = "zeros", align_corners: bool | None = False
) -> Any:
    """x [N, C, H, W] (or [N, C, D, H, W]) at the places of grid [N, P, Q, 2] (or [N, O, P, Q, 3]): [N, C, P, Q].

    The last dim of the grid is (x, y) or (x, y, z), each from -1 to 1 across the picture.
    """
    mode = MODES[mode] if isinstance(mode, int) else mode
    padding = PADDINGS[padding] if isinstance(padding, int) else padding
    axes, align = _check(x, grid, mode), bool(align_corners)
    N, C, *sizes = x.shape
    out, P = tuple(grid.shape[1:-1]), math.prod(grid.shape[1:-1])
    taps = TAPS[mode]
    count = len(taps.offsets)

    # Places in pixels, all axes at once: [N, P, (x, y)].
    points = widen(op["reshape"](grid, shape=(N, P, axes)))
    half = table_for(points, [(n - align) / 2 for n in reversed(sizes)], (axes,), "f32")
    place = (points + 1.0) * half
    place = place if align else place - 0.5
    if mode != "bicubic":  # torch pads cubic taps one by one
        place = _pad(place, sizes[::-1], padding, align)
    first = _round(place) if mode == "nearest" else op["floor"](place)
    part = place - first

    # Taps: [N, 1, taps down, taps across, P], in full already here, so that all that follows is one pass.
    pixels, weight = [], None
    for d, n in enumerate(sizes):

        def spread(t: Any, d: int = d) -> Any:
            line = op["reshape"](op["narrow"](t, dim=2, start=axes - 1 - d, size=1), shape=(N, 1, *(1,) * axes, P))
            return op["expand"](line, shape=(N, 1, *(count,) * axes, P))

        shape = (1, 1, *(count if i == d else 1 for i in range(axes)), 1)
        pixel = spread(first) + table_for(points, taps.offsets, shape, "f32")
        pixels.append(_pad(pixel, (n,), padding, align) if mode == "bicubic" else pixel)
        w = _weight(spread(part), taps.coefficients, shape)
        weight = w if weight is None else weight * w
    number = op["reshape"](_number(pixels, sizes), shape=(N, 1, count**axes * P))

    found = op["take"](widen(op["reshape"](x, shape=(N, C, math.prod(sizes)))), number, dim=2)
    if mode != "nearest":
        found = op["reshape"](found, shape=(N, C, count**axes, P))
        found = op["sum"](found * op["reshape"](weight, shape=(N, 1, count**axes, P)), dims=(2,))
    return narrow(op["reshape"](found, shape=(N, C, *out)), x)


def _steps(n: int, align_corners: bool) -> list[float]:
    """The coordinates of n pixels: from -1 to 1, or without ``align_corners`` the middles of n equal parts of that."""
    if align_corners:
        return [2 * i / (n - 1) - 1 if n > 1 else 0.0 for i in range(n)]
    return [(2 * i + 1) / n - 1 for i in range(n)]


def affine_grid(theta: Any, size: Sequence[int], align_corners: bool | None = False) -> Any:
    """grid[n, p, q] = theta[n] (x_q, y_p, 1) for theta [N, 2, 3] and size (N, C, H, W), or the same with one axis more."""
    axes = len(size) - 2
    if axes not in (2, 3) or min(size) < 1:
        raise ShapeError(f"affine_grid: size must be (N, C, H, W) or (N, C, D, H, W), each from 1; got {list(size)}")
    if tuple(theta.shape) != (size[0], axes, axes + 1):
        raise ShapeError(
            f"affine_grid: theta must be {[size[0], axes, axes + 1]} for size {list(size)}; got {list(theta.shape)}"
        )
    theta_ = widen(theta)

    def column(i: int) -> Any:
        picked = op["narrow"](theta_, dim=2, start=i, size=1)
        return op["reshape"](picked, shape=(size[0], *(1,) * axes, axes))

    grid = column(axes)
    for d in reversed(range(axes)):  # the last axis, x, has the first column
        n = size[2 + d]
        line = table_for(
            theta_, _steps(n, bool(align_corners)), (1, *(n if i == d else 1 for i in range(axes)), 1), "f32"
        )
        grid = column(axes - 1 - d) * line + grid
    return narrow(grid, theta)
