"""ATen's pools in terms of ours, over one to three axes.

Pictures have kernels of their own; lines and volumes are pooled one axis after the other, the last first, which is the
same for windows that are boxes: the first of equal values still wins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tritoncnn.capture.emit_conv import Ints, batched, per_axis
from tritoncnn.capture.emit_pointwise import narrow, widen
from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.ops import OPS
from tritoncnn.ops.table import table_for
from tritoncnn.ops.window import pool_size

op = OPS
Steps = dict[str, Ints]


def _steps(name: str, axes: int, window: Any, stride: Any, padding: Any, dilation: Any = 1) -> Steps:
    """One number per axis each; no stride is the window's. Raises ShapeError."""
    given = {"window": window, "stride": stride or window, "padding": padding, "dilation": dilation}
    words = {"window": "kernel_size"}
    steps = {key: per_axis(f"{name}: {words.get(key, key)}", value, axes) for key, value in given.items()}
    for key, numbers in steps.items():
        if min(numbers) < (least := 0 if key == "padding" else 1):
            raise ShapeError(f"{name}: {words.get(key, key)} must be at least {least}; got {list(numbers)}")
    return steps


def _by_axis(name: str, x: Any, steps: Steps, ceil_mode: bool, one: Callable[..., Any]) -> Any:
    """``one(x, dim, size, window, stride, padding, dilation)`` along each axis of x [N, C, ...]."""
    y = widen(x)
    for axis in reversed(range(len(x.shape) - 2)):
        R, U, PAD, DIL = (steps[key][axis] for key in ("window", "stride", "padding", "dilation"))
        y = one(y, 2 + axis, pool_size(name, x.shape[2 + axis], R, U, PAD, DIL, ceil_mode), R, U, PAD, DIL)
    return narrow(y, x)


def max_pool(axes: int) -> Callable[..., Any]:
    """torch's max_pool1d to max_pool3d."""
    name = f"max_pool{axes}d"

    def one(x: Any, dim: int, size: int, *numbers: int) -> Any:
        return op["max_taps"](x, dim=dim, size=size, rule="windows", numbers=numbers)[0]

    def pool(
        x: Any, window: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
    ) -> Any:
        steps = _steps(name, axes, window, stride, padding, dilation)
        if axes == 2:
            return batched(name, axes, x, lambda x: op["max_pool2d"](x, **steps, ceil_mode=ceil_mode)[0])
        return batched(name, axes, x, lambda x: _by_axis(name, x, steps, ceil_mode, one))

    return pool


def max_pool_with_indices(axes: int) -> Callable[..., Any]:
    """torch's max pools and, beside the values, the place of each in its picture: i64, row-major over the last axes."""
    name, values = f"max_pool{axes}d", max_pool(axes)

    def pool(
        x: Any, window: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
    ) -> tuple[Any, Any]:
        steps = _steps(name, axes, window, stride, padding, dilation)

        def one(y: Any, axis: int, dim: int) -> Any:
            R, U, PAD, DIL = (steps[key][axis] for key in ("window", "stride", "padding", "dilation"))
            size = pool_size(name, y.shape[dim], R, U, PAD, DIL, ceil_mode)
            return op["max_taps"](y, dim=dim, size=size, rule="windows", numbers=(R, U, PAD, DIL))

        places = batched(name, axes, x, lambda x: _places(x, axes, one))
        return values(x, window, stride, padding, dilation, ceil_mode), places

    return pool


def _places(x: Any, axes: int, one: Callable[[Any, int, int], Any]) -> Any:
    """Where in its picture each maximum comes from; ``one(y, axis, dim)`` pools along an axis: (values, indices).

    An axis joins those behind it: the row that won, times the size of a row, and the place inside of that row.
    """
    y, places, first = x, None, len(x.shape) - axes
    for axis in reversed(range(axes)):
        dim = first + axis
        y, at = one(y, axis, dim)
        size = table_for(x, (math.prod(x.shape[dim + 1 :]),), (), "i64")
        places = at if places is None else op["add"](op["mul"](at, size), op["take"](places, at, dim=dim))
    return places


def max_unpool(
    axes: int, x: Any, places: Any, sizes: Sequence[int], stride: Sequence[int] = (), padding: Sequence[int] = ()
) -> Any:
    """x [N, C, ...] at ``places`` of a picture of zeros of ``sizes``; the last of equal places stays. Raises ShapeError.

    ATen's max_unpool3d has the pooling's stride and padding too; they say nothing that sizes do not.
    """
    name = f"max_unpool{axes}d"
    if len(x.shape) not in (axes + 1, axes + 2) or tuple(places.shape) != tuple(x.shape):
        raise ShapeError(
            f"{name}: input must be [N, C, ...] of {axes + 2} dims and indices of its shape; "
            f"got {list(x.shape)} and {list(places.shape)}"
        )
    if len(sizes) != axes or min(sizes) < 1:
        raise ShapeError(f"{name}: output_size must be {axes} numbers of at least 1; got {list(sizes)}")
    lead = tuple(x.shape[: len(x.shape) - axes])
    flat = (*lead, math.prod(x.shape[len(lead) :]))
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
    y = avg_pool(axes)(y, window, stride, 0, ceil_mode) * float(
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


def avg_pool(axes: int) -> Callable[..., Any]:
    """torch's avg_pool1d to avg_pool3d: the mean over a box is the mean of means along its axes."""
    name = f"avg_pool{axes}d"

    def pool(x: Any, window: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False,
             count_include_pad: bool = True, divisor_override: int | None = None) -> Any:  # fmt: skip
        if divisor_override is not None:
            raise UnsupportedError(f"{name} with divisor_override")
        steps = _steps(name, axes, window, stride, padding)

        def one(x: Any, dim: int, size: int, R: int, U: int, PAD: int, DIL: int) -> Any:
            return op["resample"](x, dim=dim, size=size, rule="average", numbers=(R, U, PAD, int(count_include_pad)))

        def picture(x: Any) -> Any:
            plain = {key: steps[key] for key in ("window", "stride", "padding")}
            return op["avg_pool2d"](x, **plain, ceil_mode=ceil_mode, count_include_pad=count_include_pad)

        return batched(name, axes, x, picture if axes == 2 else lambda x: _by_axis(name, x, steps, ceil_mode, one))

    return pool


def output_sizes(name: str, axes: int, x: Any, size: Any) -> Ints:
    """The sizes that an adaptive pool is asked for; None keeps that of x. Raises ShapeError."""
    if len(x.shape) not in (axes + 1, axes + 2):
        raise ShapeError(f"{name}: input must have {axes + 2} dims, [N, C, ...]; got {list(x.shape)}")
    full = x.shape[len(x.shape) - axes :]
    given = (size,) * axes if size is None or isinstance(size, int) else tuple(size)
    sizes = per_axis(
        f"{name}: output_size", [n if n is not None else m for n, m in zip(given, full, strict=False)], axes
    )
    if min(sizes) < 0 or (0 in full and x.shape[0]):
        raise ShapeError(f"{name}: from {list(full)} to {list(sizes)}: sizes must be at least 0, the input's 1")
    return sizes


def adaptive_pool(kind: str, axes: int) -> Callable[..., Any]:
    """torch's adaptive pools: block p of n spans pixels floor(p H / n) to ceil((p + 1) H / n).

    Where sizes divide they are plain pools of pictures; one block of all pixels is a mean.
    """
    name = f"adaptive_{kind}_pool{axes}d"
    plain = {"max": max_pool, "avg": avg_pool}[kind](2)

    def pool(x: Any, size: Any) -> Any:
        sizes = output_sizes(name, axes, x, size)
        first = len(x.shape) - axes
        full = tuple(x.shape[first:])
        if kind == "avg" and set(sizes) == {1}:
            y = op["sum"](widen(x), dims=tuple(range(first, len(x.shape)))) * (1 / max(math.prod(full), 1))
            return narrow(op["reshape"](y, shape=(*x.shape[:first], *sizes)), x)
        if axes == 2 and not any(n == 0 or m % n for m, n in zip(full, sizes, strict=True)):
            return plain(x, tuple(m // n for m, n in zip(full, sizes, strict=True)))
        y = widen(x)
        for dim in reversed(range(first, len(x.shape))):
            n = sizes[dim - first]
            if kind == "max":
                y = op["max_taps"](y, dim=dim, size=n, rule="adaptive", numbers=())[0]
            else:
                y = op["resample"](y, dim=dim, size=n, rule="adaptive", numbers=())
        return narrow(y, x)

    return pool


def adaptive_max_pool(axes: int) -> Callable[..., Any]:
    """The maximum of each block, and its place in its picture."""
    values = adaptive_pool("max", axes)

    def pool(x: Any, size: Any) -> tuple[Any, Any]:
        sizes = output_sizes(f"adaptive_max_pool{axes}d", axes, x, size)

        def one(y: Any, axis: int, dim: int) -> Any:
            return op["max_taps"](y, dim=dim, size=sizes[axis], rule="adaptive", numbers=())

        return values(x, size), _places(x, axes, one)

    return pool
