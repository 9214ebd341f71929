"""ATen ops on images in terms of ours: pools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tritoncnn.errors import UnsupportedError
from tritoncnn.ops import OPS

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


def _adaptive_window(name: str, x: Any, size: Any) -> tuple[int, int]:
    """Window and stride of the plain pool that an adaptive pool is when sizes divide."""
    H_W, wanted = x.shape[-2:], pair(size)
    if any(n == 0 or full % n for full, n in zip(H_W, wanted, strict=True)):
        raise UnsupportedError(f"{name} from {list(H_W)} to {list(wanted)}, which does not divide")
    return (H_W[0] // wanted[0], H_W[1] // wanted[1])


def adaptive_avg_pool2d(x: Any, size: Any) -> Any:
    window = _adaptive_window("adaptive_avg_pool2d", x, size)
    if window != tuple(x.shape[-2:]):
        return avg_pool2d(x, window)
    dims = (len(x.shape) - 2, len(x.shape) - 1)
    y = op["sum"](x, dims=dims) * (1 / (window[0] * window[1]))
    return op["reshape"](y, shape=(*y.shape, 1, 1))


def adaptive_max_pool2d(x: Any, size: Any) -> Any:
    return max_pool2d(x, _adaptive_window("adaptive_max_pool2d", x, size)), Refused(
        "the indices of adaptive_max_pool2d"
    )
