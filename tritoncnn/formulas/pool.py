"""ATen's pools in terms of ours, over one to three axes.

Pictures have kernels of their own; lines and volumes are pooled one axis after the other, the last first, which is the
same for windows that are boxes: the first of equal values still wins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.formulas.convolution import AXES, Ints, at_least, batched, per_axis
from tritoncnn.formulas.dtypes import narrow, widen
from tritoncnn.formulas.index import in_range
from tritoncnn.ops import OPS
from tritoncnn.ops.table import table_for
from tritoncnn.ops.window import pool_size

op = OPS
Steps = dict[str, Ints]


def steps_of(name: str, axes: int, window: Any, stride: Any, padding: Any = 0, dilation: Any = 1) -> Steps:
    """One number per axis each; no stride is the window's. Raises ShapeError."""
    given = {
        "window": window,
        "stride": window if stride in (None, (), []) else stride,
        "padding": padding,
        "dilation": dilation,
    }
    words = {"window": "kernel_size"}
    steps = {key: per_axis(f"{name}: {words.get(key, key)}", value, axes) for key, value in given.items()}
    for key, numbers in steps.items():
        at_least(f"{name}: {words.get(key, key)}", numbers, 0 if key == "padding" else 1)
    return steps


def _by_axis(name: str, x: Any, steps: Steps, ceil_mode: bool, one: Callable[..., Any]) -> Any:
    """``one(x, dim, size, window, stride, padding, dilation)`` along each axis of x [N, C, ...]."""
    y = widen(x)
    for axis in reversed(range(len(x.shape) - 2)):
        R, U, PAD, DIL = (steps[key][axis] for key in ("window", "stride", "padding", "dilation"))
        y = one(y, 2 + axis, pool_size(name, x.shape[2 + axis], R, U, PAD, DIL, ceil_mode), R, U, PAD, DIL)
    return narrow(y, x)


class _Best:
    """The largest values so far, and the place of each in its picture: i64, row-major over the last axes.

    An axis joins those behind it: the row that won, times the size of a row of ``picture``, and the place in that row.
    """

    def __init__(self, picture: Any) -> None:
        self.shape: Ints = tuple(picture.shape)
        self.places: Any = None

    def along(self, x: Any, dim: int, **taps: Any) -> Any:
        y, at = op["max_taps"](x, dim=dim, **taps)
        if self.places is None:
            self.places = at
        else:
            row = _table(x, [math.prod(self.shape[dim + 1 :])])
            self.places = at * row + op["take"](self.places, at, dim=dim)
        return y


def _table(x: Any, numbers: Sequence[int], *shape: int) -> Any:
    return table_for(x, tuple(numbers), shape, "i64")


def _picture_places(x: Any, taps: Any, steps: Steps, P: int, Q: int) -> Any:
    """The places in pictures x that the ``taps`` of the windows of max_pool2d mean."""
    (R, S), (U, V), (PAD_H, PAD_W), (DIL_H, DIL_W) = (steps[key] for key in ("window", "stride", "padding", "dilation"))
    W = x.shape[3]
    inside = _table(x, [r * DIL_H * W + s * DIL_W for r in range(R) for s in range(S)], R * S, 1, 1, 1)
    rows = _table(x, [(p * U - PAD_H) * W for p in range(P)], P, 1)
    columns = _table(x, [q * V - PAD_W for q in range(Q)], Q)
    return op["take"](inside, taps, dim=0) + rows + columns


def max_pool_with_indices(axes: int) -> Callable[..., Any]:
    """torch's max pools: the values, and the place of each in its picture. The first of equal values wins."""
    name = f"max_pool{axes}d"

    def pool(
        x: Any, window: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
    ) -> tuple[Any, Any]:
        steps = steps_of(name, axes, window, stride, padding, dilation)

        def picture(x: Any) -> tuple[Any, Any]:
            y, taps = op["max_pool2d"](x, **steps, ceil_mode=ceil_mode)
            return y, _picture_places(x, taps, steps, *y.shape[2:])

        def axis_by_axis(x: Any) -> tuple[Any, Any]:
            best = _Best(x)

            def one(x: Any, dim: int, size: int, *numbers: int) -> Any:
                return best.along(x, dim, size=size, rule="windows", numbers=numbers)

            return _by_axis(name, x, steps, ceil_mode, one), best.places

        found: tuple[Any, Any] = batched(name, axes, x, picture if axes == 2 else axis_by_axis)
        return found

    return pool


def max_pool(axes: int) -> Callable[..., Any]:
    """torch's max_pool1d to max_pool3d. Places that nobody reads are not computed."""
    pool = max_pool_with_indices(axes)
    return lambda *args, **kwargs: pool(*args, **kwargs)[0]


def max_unpool(
    axes: int, x: Any, places: Any, sizes: Sequence[int], stride: Sequence[int] = (), padding: Sequence[int] = ()
) -> Any:
    """x [N, C, ...] at ``places`` of a picture of zeros of ``sizes``; the last of equal places stays. Raises ShapeError.

    ATen's max_unpool3d has the pooling's stride and padding too; they say nothing that sizes do not.
    """
    name = f"max_unpool{axes}d"
    _check_dims(name, axes, x)
    if tuple(places.shape) != tuple(x.shape):
        raise ShapeError(f"{name}: indices must be {list(x.shape)}, as x is; got {list(places.shape)}")
    if len(sizes) != axes or min(sizes) < 1:
        raise ShapeError(f"{name}: output_size must be {axes} numbers of at least 1; got {list(sizes)}")
    lead = tuple(x.shape[: len(x.shape) - axes])
    flat = (*lead, math.prod(x.shape[len(lead) :]))
    places = in_range(name, places, math.prod(sizes))
    entries, index = (op["reshape"](value, shape=flat) for value in (x, places))
    y = op["put"](entries, index, dim=len(lead), size=math.prod(sizes), add=False)
    return op["reshape"](y, shape=(*lead, *sizes))


def lp_pool(axes: int, x: Any, exponent: float, window: Any, stride: Any, ceil_mode: bool) -> Any:
    """(sum of x**exponent under the window)**(1/exponent), as torch has it; for an exponent that is a whole number from 1 to 8.

    A window that hangs over the end counts as the mean of its pixels, times those of a whole window.
    Source: Gulcehre et al. 2014, "Learned-norm pooling for deep feedforward and recurrent neural networks".
    """
    name = f"lp_pool{axes}d"
    if not (isinstance(exponent, (int, float)) and 1 <= exponent <= 8 and float(exponent).is_integer()):
        raise UnsupportedError(f"{name}: norm_type must be a whole number from 1 to 8; got {exponent}")
    wide = y = widen(x)
    for _ in range(int(exponent) - 1):
        y = y * wide
    y = avg_pool(axes, name)(y, window, stride, 0, ceil_mode) * float(
        math.prod(per_axis(f"{name}: kernel_size", window, axes))
    )
    none = op["eq"](
        y, 0.0
    )  # a window whose sum is 0 has no gradient, as in torch for exponent 1; roots have none there
    if exponent == 2:
        y = op["sqrt"](op["where"](none, 1.0, y))
    elif exponent > 2:
        y = op["exp"](op["log"](op["where"](none, 1.0, y)) * (1 / float(exponent)))
    y = op["where"](none, 0.0, y)
    return narrow(y, x)


def avg_pool(axes: int, name: str = "") -> Callable[..., Any]:
    """torch's avg_pool1d to avg_pool3d: the mean over a box is the mean of means along its axes.

    With ``divisor_override`` the sum under each window, over that number. Errors are said of ``name``.
    """
    name = name or f"avg_pool{axes}d"

    def pool(x: Any, window: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False,
             count_include_pad: bool = True, divisor_override: int | None = None) -> Any:  # fmt: skip
        if divisor_override == 0:
            raise ShapeError(f"{name}: divisor_override must not be zero; got 0")
        steps = steps_of(name, axes, window, stride, padding)

        def one(x: Any, dim: int, size: int, R: int, U: int, PAD: int, DIL: int) -> Any:
            return op["resample"](x, dim=dim, size=size, rule="average", numbers=(R, U, PAD, int(count_include_pad)))

        def add_up(x: Any, dim: int, size: int, *numbers: int) -> Any:
            return op["resample"](x, dim=dim, size=size, rule="windows", numbers=numbers)

        def divided(x: Any) -> Any:
            total = _by_axis(name, widen(x), steps, ceil_mode, add_up)
            return narrow(total * (1 / float(divisor_override or 1)), x)

        def picture(x: Any) -> Any:
            plain = {key: steps[key] for key in ("window", "stride", "padding")}
            return op["avg_pool2d"](x, **plain, ceil_mode=ceil_mode, count_include_pad=count_include_pad)

        if divisor_override is not None:
            return batched(name, axes, x, divided)
        return batched(name, axes, x, picture if axes == 2 else lambda x: _by_axis(name, x, steps, ceil_mode, one))

    return pool


def _check_dims(name: str, axes: int, x: Any) -> None:
    if len(x.shape) not in (axes + 1, axes + 2):
        raise ShapeError(f"{name}: x must be [N, C, {AXES[axes]}] or [C, {AXES[axes]}]; got {list(x.shape)}")


def output_sizes(name: str, axes: int, x: Any, size: Any) -> Ints:
    """The sizes that an adaptive pool is asked for; None keeps that of x. Raises ShapeError."""
    _check_dims(name, axes, x)
    full = x.shape[len(x.shape) - axes :]
    given: tuple[Any, ...] = (size,) * axes if size is None or isinstance(size, int) else tuple(size)
    if len(given) == axes:
        given = tuple(n if n is not None else m for n, m in zip(given, full, strict=True))
    sizes = per_axis(f"{name}: output_size", given, axes)
    at_least(f"{name}: output_size", sizes, 0)
    if 0 in full and x.shape[0]:
        raise ShapeError(f"{name}: x must have at least 1 pixel along every axis; got {list(x.shape)}")
    return sizes


def _blocks(x: Any, first: int, sizes: Ints) -> Ints | None:
    """The window of an adaptive pool where all blocks are of one size."""
    full = tuple(x.shape[first:])
    if any(n == 0 or m % n for m, n in zip(full, sizes, strict=True)):
        return None
    return tuple(m // n for m, n in zip(full, sizes, strict=True))


def adaptive_avg_pool(axes: int) -> Callable[..., Any]:
    """Block p of n spans pixels floor(p H / n) to ceil((p + 1) H / n).

    Where sizes divide it is a plain pool of pictures; one block of all pixels is a mean.
    """
    name = f"adaptive_avg_pool{axes}d"

    def pool(x: Any, size: Any) -> Any:
        sizes = output_sizes(name, axes, x, size)
        first = len(x.shape) - axes
        if set(sizes) == {1}:
            dims = tuple(range(first, len(x.shape)))
            y = op["sum"](widen(x), dims=dims) * (1 / max(math.prod(x.shape[first:]), 1))
            return narrow(op["reshape"](y, shape=(*x.shape[:first], *sizes)), x)
        if axes == 2 and (window := _blocks(x, first, sizes)):
            return avg_pool(2)(x, window)
        y = widen(x)
        for dim in reversed(range(first, len(x.shape))):
            y = op["resample"](y, dim=dim, size=sizes[dim - first], rule="adaptive", numbers=())
        return narrow(y, x)

    return pool


def adaptive_max_pool(axes: int) -> Callable[..., Any]:
    """The largest value of each block, and its place in its picture; blocks as in ``adaptive_avg_pool``."""
    name = f"adaptive_max_pool{axes}d"

    def pool(x: Any, size: Any) -> tuple[Any, Any]:
        sizes = output_sizes(name, axes, x, size)
        first = len(x.shape) - axes
        if axes == 2 and (window := _blocks(x, first, sizes)):
            found: tuple[Any, Any] = max_pool_with_indices(2)(x, window)
            return found
        y, best = widen(x), _Best(x)
        for dim in reversed(range(first, len(x.shape))):
            y = best.along(y, dim, size=sizes[dim - first], rule="adaptive", numbers=())
        return narrow(y, x), best.places

    return pool
