"""Pooling of lines, pictures and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tritoncnn.capture import emit_conv
from tritoncnn.capture import emit_pool as emit
from tritoncnn.functional.dispatch import Ints, fused

Tensor = torch.Tensor
Size = int | Sequence[int]
Wanted = int | Sequence[int | None] | None


@fused
def _max_pool2d(x: Tensor, window: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool) -> Any:
    return emit.max_pool2d(x, window, stride, padding, dilation, ceil_mode)


@fused
def _avg_pool2d(x: Tensor, window: Ints, stride: Ints, padding: Ints, ceil_mode: bool, count_include_pad: bool) -> Any:
    return emit.avg_pool2d(x, window, stride, padding, ceil_mode, count_include_pad)


@fused
def _max_pool(x: Tensor, axes: int, window: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool) -> Any:
    return emit.max_pool(axes)(x, window, stride, padding, dilation, ceil_mode)


@fused
def _avg_pool(x: Tensor, axes: int, window: Ints, stride: Ints, padding: Ints, ceil_mode: bool,
              count_include_pad: bool) -> Any:  # fmt: skip
    return emit.avg_pool(axes)(x, window, stride, padding, ceil_mode, count_include_pad)


@fused
def _adaptive_avg_pool(x: Tensor, axes: int, size: Ints) -> Any:
    return emit.adaptive_avg_pool2d(x, size) if axes == 2 else emit.adaptive_pool("avg", axes)(x, size)


@fused
def _adaptive_max_pool(x: Tensor, axes: int, size: Ints) -> Any:
    return emit.adaptive_max_pool2d(x, size)[0] if axes == 2 else emit.adaptive_pool("max", axes)(x, size)


def max_pool2d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False) -> Tensor:  # fmt: skip
    """The largest value under each window of x [N, C, H, W]; pixels outside count as -inf, NaN wins. ``stride``: the window's.

    Raises ShapeError, DTypeError.
    """
    window = emit_conv.per_axis("max_pool2d: kernel_size", kernel_size, 2)
    step = window if stride is None else emit_conv.per_axis("max_pool2d: stride", stride, 2)
    pad = emit_conv.per_axis("max_pool2d: padding", padding, 2)
    return _max_pool2d(x, window, step, pad, emit_conv.per_axis("max_pool2d: dilation", dilation, 2), ceil_mode)[0]


def avg_pool2d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Tensor:  # fmt: skip
    """The mean under each window of x [N, C, H, W]; ``count_include_pad``: padding counts as zeros. Raises as max_pool2d."""
    window = emit_conv.per_axis("avg_pool2d: kernel_size", kernel_size, 2)
    step = window if stride is None else emit_conv.per_axis("avg_pool2d: stride", stride, 2)
    pad = emit_conv.per_axis("avg_pool2d: padding", padding, 2)
    return _avg_pool2d(x, window, step, pad, ceil_mode, count_include_pad)[0]


def _numbers(name: str, axes: int, window: Size, stride: Size | None, **more: Size) -> list[tuple[int, ...]]:
    """kernel_size, stride (the window's, if None) and the rest, one number per axis. Raises ShapeError."""
    per = emit_conv.per_axis(f"{name}: kernel_size", window, axes)
    step = per if stride is None else emit_conv.per_axis(f"{name}: stride", stride, axes)
    return [per, step, *(emit_conv.per_axis(f"{name}: {key}", value, axes) for key, value in more.items())]


def max_pool1d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False) -> Tensor:  # fmt: skip
    """As max_pool2d, for x [N, C, L]."""
    return _max_pool(
        x, 1, *_numbers("max_pool1d", 1, kernel_size, stride, padding=padding, dilation=dilation), ceil_mode
    )[0]


def max_pool3d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False) -> Tensor:  # fmt: skip
    """As max_pool2d, for x [N, C, D, H, W]; one axis after the other."""
    return _max_pool(
        x, 3, *_numbers("max_pool3d", 3, kernel_size, stride, padding=padding, dilation=dilation), ceil_mode
    )[0]


def avg_pool1d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Tensor:  # fmt: skip
    """As avg_pool2d, for x [N, C, L]."""
    return _avg_pool(
        x, 1, *_numbers("avg_pool1d", 1, kernel_size, stride, padding=padding), ceil_mode, count_include_pad
    )[0]


def avg_pool3d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Tensor:  # fmt: skip
    """As avg_pool2d, for x [N, C, D, H, W]; one axis after the other."""
    return _avg_pool(
        x, 3, *_numbers("avg_pool3d", 3, kernel_size, stride, padding=padding), ceil_mode, count_include_pad
    )[0]


def _output_size(name: str, axes: int, x: Tensor, size: Wanted) -> tuple[int, ...]:
    """All numbers; None keeps the size of x."""
    given = (size,) * axes if size is None or isinstance(size, int) else tuple(size)
    full = x.shape[-axes:] if isinstance(x, torch.Tensor) and x.dim() >= axes else (1,) * axes
    kept = [n if wanted is None else wanted for wanted, n in zip(given, full, strict=False)]
    return emit_conv.per_axis(f"{name}: output_size", kept, axes)


def adaptive_avg_pool1d(x: Tensor, output_size: Wanted) -> Tensor:
    """As adaptive_avg_pool2d, for x [N, C, L]."""
    return _adaptive_avg_pool(x, 1, _output_size("adaptive_avg_pool1d", 1, x, output_size))[0]


def adaptive_avg_pool2d(x: Tensor, output_size: Wanted) -> Tensor:
    """The mean of output_size blocks of x [N, C, H, W]: block p of n spans pixels floor(p H / n) to ceil((p + 1) H / n).

    1 is global pooling, None keeps a size. Raises ShapeError.
    """
    return _adaptive_avg_pool(x, 2, _output_size("adaptive_avg_pool2d", 2, x, output_size))[0]


def adaptive_avg_pool3d(x: Tensor, output_size: Wanted) -> Tensor:
    """As adaptive_avg_pool2d, for x [N, C, D, H, W]."""
    return _adaptive_avg_pool(x, 3, _output_size("adaptive_avg_pool3d", 3, x, output_size))[0]


def adaptive_max_pool1d(x: Tensor, output_size: Wanted) -> Tensor:
    """As adaptive_max_pool2d, for x [N, C, L]."""
    return _adaptive_max_pool(x, 1, _output_size("adaptive_max_pool1d", 1, x, output_size))[0]


def adaptive_max_pool2d(x: Tensor, output_size: Wanted) -> Tensor:
    """The largest value of each block of x [N, C, H, W]; blocks as in adaptive_avg_pool2d."""
    return _adaptive_max_pool(x, 2, _output_size("adaptive_max_pool2d", 2, x, output_size))[0]


def adaptive_max_pool3d(x: Tensor, output_size: Wanted) -> Tensor:
    """As adaptive_max_pool2d, for x [N, C, D, H, W]."""
    return _adaptive_max_pool(x, 3, _output_size("adaptive_max_pool3d", 3, x, output_size))[0]
