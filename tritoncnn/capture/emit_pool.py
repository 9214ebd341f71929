"""ATen's pools in terms of ours, over one to three axes.

Pictures have kernels of their own; lines and volumes are pooled one axis after the other, the last first, which is the
same for windows that are boxes: the first of equal values still wins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tritoncnn.capture.emit_conv import Ints, batched, per_axis
from tritoncnn.capture.emit_pointwise import narrow, widen
from tritoncnn.capture.refused import Refused
from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.ops import OPS
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
    pool = max_pool(axes)
    return lambda *args, **kwargs: (pool(*args, **kwargs), Refused(f"the indices of max_pool{axes}d"))


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
    pool = adaptive_pool("max", axes)
    return lambda x, size: (pool(x, size), Refused(f"the indices of adaptive_max_pool{axes}d"))
