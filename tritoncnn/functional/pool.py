"""Pooling of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tritoncnn.capture import emit_conv
from tritoncnn.capture import emit_image as emit
from tritoncnn.functional.dispatch import Ints, fused

Tensor = torch.Tensor
Size = int | Sequence[int]


@fused
def _max_pool2d(x: Tensor, window: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool) -> Any:
    return emit.max_pool2d(x, window, stride, padding, dilation, ceil_mode)


@fused
def _avg_pool2d(x: Tensor, window: Ints, stride: Ints, padding: Ints, ceil_mode: bool, count_include_pad: bool) -> Any:
    return emit.avg_pool2d(x, window, stride, padding, ceil_mode, count_include_pad)


@fused
def _adaptive_avg_pool2d(x: Tensor, size: Ints) -> Any:
    return emit.adaptive_avg_pool2d(x, size)


@fused
def _adaptive_max_pool2d(x: Tensor, size: Ints) -> Any:
    return emit.adaptive_max_pool2d(x, size)[0]


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


def adaptive_avg_pool2d(x: Tensor, output_size: int | Sequence[int | None] | None) -> Tensor:
    """The mean of output_size blocks of x [N, C, H, W]; 1 is global pooling, None keeps a size. Sizes must divide H and W."""
    return _adaptive_avg_pool2d(x, _output_size("adaptive_avg_pool2d", x, output_size))[0]


def adaptive_max_pool2d(x: Tensor, output_size: int | Sequence[int | None] | None) -> Tensor:
    """The largest value of output_size blocks of x [N, C, H, W]. Sizes must divide H and W."""
    return _adaptive_max_pool2d(x, _output_size("adaptive_max_pool2d", x, output_size))[0]


def _output_size(name: str, x: Tensor, size: int | Sequence[int | None] | None) -> tuple[int, ...]:
    """Both numbers; None keeps the size of x."""
    pair = (size, size) if size is None or isinstance(size, int) else tuple(size)
    given = [n if wanted is None else wanted for wanted, n in zip(pair, x.shape[-2:], strict=False)]
    return emit_conv.per_axis(f"{name}: output_size", given, 2)
