"""ATen's convolutions, over one to three axes, in terms of ours, which knows pictures and volumes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from tritoncnn.errors import ShapeError
from tritoncnn.ops import OPS
from tritoncnn.ops.window import conv_sizes

op = OPS
Ints = tuple[int, ...]
AXES = {1: "L", 2: "H, W", 3: "D, H, W"}


def numbers_of(name: str, value: int | Sequence[int]) -> Ints:
    """One whole number, or all of a list. Raises ShapeError for what is none."""
    try:
        return (operator.index(value),) if hasattr(value, "__index__") else tuple(map(operator.index, value))
    except TypeError:
        raise ShapeError(f"{name} must be whole numbers; got {value!r}") from None


def per_axis(name: str, value: int | Sequence[int], axes: int) -> Ints:
    """(2, 2) for 2, [2] and [2, 2]. Raises ShapeError for another number of numbers."""
    if type(value) is int:
        return (value,) * axes
    numbers = numbers_of(name, value)
    if len(numbers) not in (1, axes):
        raise ShapeError(f"{name} must be one number{f' or {axes}' if axes > 1 else ''}; got {list(numbers)}")
    return numbers * axes if len(numbers) == 1 else numbers


def at_least(what: str, numbers: Ints, least: int) -> None:
    if min(numbers) < least:
        raise ShapeError(f"{what} must be at least {least}; got {list(numbers)}")


def padding_of(padding: Any, taps: Sequence[int], stride: Ints, dilation: Ints) -> Ints:
    """Before and after, axis by axis, for torch's ``padding`` or "causal": all of it before, so no tap sees what follows."""
    axes = len(taps)
    if type(padding) is int and padding >= 0:
        return (padding,) * (2 * axes)
    spans = [d * (int(r) - 1) for d, r in zip(dilation, taps, strict=True)]
    if padding == "valid":
        return (0,) * (2 * axes)
    if padding == "causal":
        return tuple(n for span in spans for n in (span, 0))
    if padding == "same":
        if any(step != 1 for step in stride):
            raise ShapeError(f"stride must be 1 for padding 'same'; got {list(stride)}")
        return tuple(n for span in spans for n in (span // 2, span - span // 2))
    if isinstance(padding, str):
        raise ShapeError(f"padding must be numbers, 'valid', 'same' or 'causal'; got {padding!r}")
    numbers = numbers_of("padding", padding)
    if len(numbers) == 2 * axes:
        sides = numbers
    else:
        sides = tuple(n for size in per_axis("padding", padding, axes) for n in (size, size))
    if min(sides) < 0:
        raise ShapeError(f"padding must not be negative; got {list(numbers)}")
    return sides


def short(sides: Ints) -> Ints:
    """One number per axis where before and after are equal."""
    return sides[::2] if sides[::2] == sides[1::2] else sides


def batched(name: str, axes: int, x: Any, compute: Callable[[Any], Any]) -> Any:
    """``compute`` on [N, C, ...]; [C, ...] counts as one sample. Raises ShapeError for another number of dims."""
    if len(x.shape) == axes + 2:
        return compute(x)
    if len(x.shape) != axes + 1:
        raise ShapeError(f"{name}: x must be [N, C, {AXES[axes]}] or [C, {AXES[axes]}]; got {list(x.shape)}")
    found = compute(op["reshape"](x, shape=(1, *x.shape)))
    one = tuple(op["reshape"](y, shape=tuple(y.shape[1:])) for y in (found if isinstance(found, tuple) else (found,)))
    return one if isinstance(found, tuple) else one[0]


def conv(axes: int, x: Any, w: Any, b: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """x [N, C, ...] or [C, ...] with filters w [K, C/groups, ...] and bias b [K]. Raises ShapeError."""
    name = f"conv{axes}d"
    _check_weight(name, axes, w)
    step, spacing = per_axis("stride", stride, axes), per_axis("dilation", dilation, axes)
    at_least(f"{name}: stride", step, 1)
    at_least(f"{name}: dilation", spacing, 1)
    sides = padding_of(padding, w.shape[2:], step, spacing)
    _check_bias(name, b, w.shape[0])

    def compute(x: Any) -> Any:
        _check_groups(name, groups)
        if x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
            raise ShapeError(
                f"{name}: weight must be [K, C/groups, {AXES[axes]}] with C = {x.shape[1]} channels of x and K divisible by "
                f"groups = {groups}; got {list(w.shape)}"
            )
        conv_sizes(name, x.shape, w.shape, step, sides, spacing)
        if axes > 1:
            return _biased(op["conv2d"](x, w, stride=step, padding=short(sides), dilation=spacing, groups=groups), b)
        row, taps = op["reshape"](x, shape=_with_height(x)), op["reshape"](w, shape=_with_height(w))
        steps = {"stride": (1, *step), "padding": short((0, 0, *sides)), "dilation": (1, *spacing)}
        y = _biased(op["conv2d"](row, taps, **steps, groups=groups), b)
        return op["reshape"](y, shape=(*y.shape[:2], y.shape[3]))

    return batched(name, axes, x, compute)


def conv_transpose(
    axes: int, x: Any, w: Any, b: Any, stride: Any, padding: Any, output_padding: Any, groups: int, dilation: Any
) -> Any:
    """The input gradient of a convolution of w [C, K/groups, ...], taken of x [N, C, ...]: Dumoulin & Visin 2016, ch. 4."""
    name = f"conv_transpose{axes}d"
    _check_weight(name, axes, w)
    if len(x.shape) != axes + 2:
        rest = (w, b, stride, padding, output_padding, groups, dilation)
        return batched(name, axes, x, lambda x: conv_transpose(axes, x, *rest))
    step, spacing = per_axis("stride", stride, axes), per_axis("dilation", dilation, axes)
    pad, more = per_axis("padding", padding, axes), per_axis("output_padding", output_padding, axes)
    at_least(f"{name}: stride", step, 1)
    at_least(f"{name}: dilation", spacing, 1)
    at_least(f"{name}: padding", pad, 0)
    _check_groups(name, groups)
    if any(not 0 <= m < max(u, d) for m, u, d in zip(more, step, spacing, strict=True)):
        raise ShapeError(f"{name}: output_padding must be below stride or dilation; got {list(more)}")
    if x.shape[1] != w.shape[0] or w.shape[0] % groups:
        raise ShapeError(
            f"{name}: weight must be [C, K/groups, {AXES[axes]}] with C = {x.shape[1]} channels of x, divisible by groups = "
            f"{groups}; got {list(w.shape)}"
        )
    _check_bias(name, b, w.shape[1] * groups)
    walk = list(zip(x.shape[2:], w.shape[2:], step, pad, spacing, more, strict=True))
    sizes = tuple((n - 1) * u - 2 * p + d * (r - 1) + m + 1 for n, r, u, p, d, m in walk)
    if min(sizes) < 1:
        raise ShapeError(f"{name}: the output would have {list(sizes)} pixels; padding must be less; got {list(pad)}")
    # More pixels than a window step at the end are padding taken away, seen from the convolution.
    sides = tuple(n for _, _, u, p, _, m in walk for n in (p, p if m < u else p - m))
    shape = (x.shape[0], w.shape[1] * groups, *sizes)
    attrs = {"stride": step, "padding": short(sides), "dilation": spacing, "groups": groups}
    if axes > 1:
        return _biased(op["conv2d_dgrad"](x, w, input_shape=shape, **attrs), b)
    attrs |= {"stride": (1, *step), "padding": short((0, 0, *sides)), "dilation": (1, *spacing)}
    row, taps = op["reshape"](x, shape=_with_height(x)), op["reshape"](w, shape=_with_height(w))
    y = _biased(op["conv2d_dgrad"](row, taps, input_shape=(*shape[:2], 1, *sizes), **attrs), b)
    return op["reshape"](y, shape=shape)


def _with_height(x: Any) -> Ints:
    return (*x.shape[:2], 1, x.shape[2])


def _check_weight(name: str, axes: int, w: Any) -> None:
    if len(w.shape) != axes + 2:
        raise ShapeError(f"{name}: weight must have {axes + 2} dims, [.., .., {AXES[axes]}]; got {list(w.shape)}")


def _check_groups(name: str, groups: int) -> None:
    if groups < 1:
        raise ShapeError(f"{name}: groups must be at least 1; got {groups}")


def _check_bias(name: str, b: Any, K: int) -> None:
    if b is not None and tuple(b.shape) != (K,):
        raise ShapeError(f"{name}: bias must be [{K}], one number per filter; got {list(b.shape)}")


def _biased(y: Any, b: Any) -> Any:
    return y if b is None else y + op["reshape"](b, shape=(1, b.shape[0], *(1,) * (len(y.shape) - 2)))


def conv1d(x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    return conv(1, x, w, b, stride, padding, dilation, groups)


def conv2d(x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    return conv(2, x, w, b, stride, padding, dilation, groups)


def conv3d(x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    return conv(3, x, w, b, stride, padding, dilation, groups)


def conv_transpose1d(x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
                     groups: int = 1, dilation: Any = 1) -> Any:  # fmt: skip
    return conv_transpose(1, x, w, b, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
                     groups: int = 1, dilation: Any = 1) -> Any:  # fmt: skip
    return conv_transpose(2, x, w, b, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
                     groups: int = 1, dilation: Any = 1) -> Any:  # fmt: skip
    return conv_transpose(3, x, w, b, stride, padding, output_padding, groups, dilation)


def convolution(x: Any, w: Any, b: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, output_padding: Any,
                groups: int) -> Any:  # fmt: skip
    axes = len(w.shape) - 2
    if transposed:
        return conv_transpose(axes, x, w, b, stride, padding, output_padding, groups, dilation)
    return conv(axes, x, w, b, stride, padding, dilation, groups)
