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
def _max_pool(x: Tensor, axes: int, window: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool) -> Any:
    return emit.max_pool(axes)(x, window, stride, padding, dilation, ceil_mode)


@fused
def _avg_pool(x: Tensor, axes: int, window: Ints, stride: Ints, padding: Ints, ceil_mode: bool,
              count_include_pad: bool) -> Any:  # fmt: skip
    return emit.avg_pool(axes)(x, window, stride, padding, ceil_mode, count_include_pad)


@fused
def _adaptive_avg_pool(x: Tensor, axes: int, size: Ints) -> Any:
    return emit.adaptive_pool("avg", axes)(x, size)


@fused
def _adaptive_max_pool(x: Tensor, axes: int, size: Ints) -> Any:
    return emit.adaptive_pool("max", axes)(x, size)


def max_pool2d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False) -> Tensor:  # fmt: skip
    """The largest value under each window of x [N, C, H, W]; pixels outside count as -inf, NaN wins. ``stride``: the window's.

    Raises ShapeError, DTypeError.
    """
    return _max_pool(
        x, 2, *_numbers("max_pool2d", 2, kernel_size, stride, padding=padding, dilation=dilation), ceil_mode
    )[0]


def avg_pool2d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Tensor:  # fmt: skip
    """The mean under each window of x [N, C, H, W]; ``count_include_pad``: padding counts as zeros. Raises as max_pool2d."""
    return _avg_pool(
        x, 2, *_numbers("avg_pool2d", 2, kernel_size, stride, padding=padding), ceil_mode, count_include_pad
    )[0]


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


def _sizes(name: str, axes: int, x: Tensor, size: Wanted) -> tuple[int, ...]:
    return emit.output_sizes(name, axes, x, size) if isinstance(x, torch.Tensor) else (1,) * axes


def adaptive_avg_pool1d(x: Tensor, output_size: Wanted) -> Tensor:
    """As adaptive_avg_pool2d, for x [N, C, L]."""
    return _adaptive_avg_pool(x, 1, _sizes("adaptive_avg_pool1d", 1, x, output_size))[0]


def adaptive_avg_pool2d(x: Tensor, output_size: Wanted) -> Tensor:
    """The mean of output_size blocks of x [N, C, H, W]: block p of n spans pixels floor(p H / n) to ceil((p + 1) H / n).

    1 is global pooling, None keeps a size. Raises ShapeError.
    """
    return _adaptive_avg_pool(x, 2, _sizes("adaptive_avg_pool2d", 2, x, output_size))[0]


def adaptive_avg_pool3d(x: Tensor, output_size: Wanted) -> Tensor:
    """As adaptive_avg_pool2d, for x [N, C, D, H, W]."""
    return _adaptive_avg_pool(x, 3, _sizes("adaptive_avg_pool3d", 3, x, output_size))[0]


def adaptive_max_pool1d(x: Tensor, output_size: Wanted) -> Tensor:
    """As adaptive_max_pool2d, for x [N, C, L]."""
    return _adaptive_max_pool(x, 1, _sizes("adaptive_max_pool1d", 1, x, output_size))[0]


def adaptive_max_pool2d(x: Tensor, output_size: Wanted) -> Tensor:
    """The largest value of each block of x [N, C, H, W]; blocks as in adaptive_avg_pool2d."""
    return _adaptive_max_pool(x, 2, _sizes("adaptive_max_pool2d", 2, x, output_size))[0]


def adaptive_max_pool3d(x: Tensor, output_size: Wanted) -> Tensor:
    """As adaptive_max_pool2d, for x [N, C, D, H, W]."""
    return _adaptive_max_pool(x, 3, _sizes("adaptive_max_pool3d", 3, x, output_size))[0]
