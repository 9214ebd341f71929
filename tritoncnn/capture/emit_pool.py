"""ATen pools in terms of ours, over one to three axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tritoncnn.capture.emit_conv import per_axis
from tritoncnn.capture.emit_pointwise import narrow, widen
from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.ops import OPS
from tritoncnn.ops.window import pool_size

op = OPS


class Refused:
    """Stands for a result that we do not compute; whoever reads it is unsupported."""

    def __init__(self, why: str) -> None:
        self.why = why


def pair(value: int | Sequence[int], default: Sequence[int] = (1, 1)) -> tuple[int, int]:
    """(2, 2) for 2, [2] and [2, 2]; the default for []."""
    numbers = (value,) if isinstance(value, int) else tuple(value) or tuple(default)
    return (int(numbers[0]), int(numbers[-1]))


def batched(x: Any, compute: Callable[[Any], Any]) -> Any:
    """``compute`` on [N, C, H, W]; [C, H, W] counts as one image."""
    if len(x.shape) != 3:
        return compute(x)
    y = compute(op["reshape"](x, shape=(1, *x.shape)))
    return op["reshape"](y, shape=tuple(y.shape[1:]))


def max_pool2d(
    x: Any, window: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    window = pair(window)
    attrs = {"window": window, "stride": pair(stride, window), "padding": pair(padding), "dilation": pair(dilation)}
    return batched(x, lambda x: op["max_pool2d"](x, **attrs, ceil_mode=ceil_mode)[0])


def max_pool2d_with_indices(*args: Any, **kwargs: Any) -> Any:
    return max_pool2d(*args, **kwargs), Refused("the indices of max_pool2d")


def avg_pool2d(x: Any, window: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Any:  # fmt: skip
    if divisor_override is not None:
        raise UnsupportedError("avg_pool2d with divisor_override")
    window = pair(window)
    attrs = {"window": window, "stride": pair(stride, window), "padding": pair(padding), "ceil_mode": ceil_mode}
    return batched(x, lambda x: op["avg_pool2d"](x, **attrs, count_include_pad=count_include_pad))


def _pooled(
    name: str,
    axes: int,
    x: Any,
    window: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    one: Callable[..., Any],
) -> Any:
    """Pools over windows that are boxes, one axis after the other, the last first: ``one(x, dim, size, window, ...)``."""
    if len(x.shape) == axes + 1:
        whole = op["reshape"](x, shape=(1, *x.shape))
        y = _pooled(name, axes, whole, window, stride, padding, dilation, ceil_mode, one)
        return op["reshape"](y, shape=tuple(y.shape[1:]))
    if len(x.shape) != axes + 2:
        raise ShapeError(f"{name}: input must have {axes + 2} dims, [N, C, ...]; got {list(x.shape)}")
    numbers = [per_axis(f"{name}: kernel_size", window, axes), per_axis(f"{name}: stride", stride or window, axes)]
    numbers += [per_axis(f"{name}: padding", padding, axes), per_axis(f"{name}: dilation", dilation, axes)]
    if min(*numbers[0], *numbers[1], *numbers[3]) < 1 or min(numbers[2]) < 0:
        raise ShapeError(f"{name}: kernel_size, stride and dilation must be at least 1, padding 0; got {numbers}")
    y = widen(x)
    for axis in reversed(range(axes)):
        R, U, PAD, DIL = (n[axis] for n in numbers)
        size = pool_size(name, x.shape[2 + axis], R, U, PAD, DIL, ceil_mode)
        y = one(y, 2 + axis, size, R, U, PAD, DIL)
    return narrow(y, x)


def max_pool(axes: int) -> Callable[..., Any]:
    """torch's max_pool1d and max_pool3d. Of equal values the first of the window gets the gradient."""

    def one(x: Any, dim: int, size: int, *numbers: int) -> Any:
        return op["max_taps"](x, dim=dim, size=size, rule="windows", numbers=numbers)[0]

    def pool(
        x: Any, window: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
    ) -> Any:
        return _pooled(f"max_pool{axes}d", axes, x, window, stride, padding, dilation, ceil_mode, one)

    return pool


def avg_pool(axes: int) -> Callable[..., Any]:
    """torch's avg_pool1d and avg_pool3d: the mean over a box is the mean of means along its axes."""

    def pool(x: Any, window: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False,
             count_include_pad: bool = True, divisor_override: int | None = None) -> Any:  # fmt: skip
        if divisor_override is not None:
            raise UnsupportedError(f"avg_pool{axes}d with divisor_override")

        def one(x: Any, dim: int, size: int, R: int, U: int, PAD: int, DIL: int) -> Any:
            numbers = (R, U, PAD, int(count_include_pad))
            return op["resample"](x, dim=dim, size=size, rule="average", numbers=numbers)

        return _pooled(f"avg_pool{axes}d", axes, x, window, stride, padding, 1, ceil_mode, one)

    return pool


def adaptive_pool(kind: str, axes: int) -> Callable[..., Any]:
    """torch's adaptive pools: block p of n spans pixels floor(p H / n) to ceil((p + 1) H / n)."""
    name = f"adaptive_{kind}_pool{axes}d"

    def pool(x: Any, size: Any) -> Any:
        if len(x.shape) not in (axes + 1, axes + 2):
            raise ShapeError(f"{name}: input must have {axes + 2} dims, [N, C, ...]; got {list(x.shape)}")
        first = len(x.shape) - axes
        given = (size,) * axes if size is None or isinstance(size, int) else tuple(size)
        sizes = [full if n is None else int(n) for n, full in zip(given, x.shape[first:], strict=True)]
        if min(sizes) < 0 or (0 in x.shape[first:] and x.shape[0]):
            raise ShapeError(
                f"{name}: from {list(x.shape[first:])} to {sizes}: sizes must be at least 0, the input's 1"
            )
        y = widen(x)
        for dim in reversed(range(first, len(x.shape))):
            n = sizes[dim - first]
            if kind == "max":
                y = op["max_taps"](y, dim=dim, size=n, rule="adaptive", numbers=())[0]
            else:
                y = op["resample"](y, dim=dim, size=n, rule="adaptive", numbers=())
        return narrow(y, x)

    return pool


def _adaptive_window(x: Any, size: Any) -> tuple[int, int] | None:
    """Window and stride of the plain pool that an adaptive pool is when sizes divide."""
    given = (size, size) if size is None or isinstance(size, int) else tuple(size)
    H_W = x.shape[-2:]
    wanted = [full if n is None else int(n) for n, full in zip(given, H_W, strict=True)]
    if any(n == 0 or full % n for full, n in zip(H_W, wanted, strict=True)):
        return None
    return (H_W[0] // wanted[0], H_W[1] // wanted[1])


def adaptive_avg_pool2d(x: Any, size: Any) -> Any:
    window = _adaptive_window(x, size)
    if window is None:
        return adaptive_pool("avg", 2)(x, size)
    if window != tuple(x.shape[-2:]):
        return avg_pool2d(x, window)
    dims = (len(x.shape) - 2, len(x.shape) - 1)
    y = op["sum"](x, dims=dims) * (1 / (window[0] * window[1]))
    return op["reshape"](y, shape=(*y.shape, 1, 1))


def adaptive_max_pool2d(x: Any, size: Any) -> Any:
    window = _adaptive_window(x, size)
    y = adaptive_pool("max", 2)(x, size) if window is None else max_pool2d(x, window)
    return y, Refused("the indices of adaptive_max_pool2d")


def adaptive_max_pool(axes: int) -> Callable[..., Any]:
    pool = adaptive_pool("max", axes)
    return lambda x, size: (pool(x, size), Refused(f"the indices of adaptive_max_pool{axes}d"))
