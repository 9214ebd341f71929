"""Pooling of lines, pictures and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tritoncnn.errors import InputError
from tritoncnn.formulas import pool as emit
from tritoncnn.functional.dispatch import Ints, Labels, fused, under_autocast

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d",
    "lp_pool2d", "lp_pool3d", "max_pool1d", "max_pool2d", "max_pool3d", "max_unpool1d", "max_unpool2d",
    "max_unpool3d",
]  # fmt: skip

Tensor = torch.Tensor
Size = int | Sequence[int]
Wanted = int | Sequence[int | None] | None


def _of_volumes(arguments: Sequence[Any]) -> str:
    """Torch's autocast takes pools over three axes in f32, others as they come."""
    return "f32" if arguments[1] == 3 else "none"


@under_autocast(_of_volumes)
@fused
def _max_pool(x: Tensor, axes: int, window: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool,
              indices: bool) -> Any:  # fmt: skip
    found = emit.max_pool_with_indices(axes)(x, window, stride, padding, dilation, ceil_mode)
    return found if indices else found[0]


@under_autocast("f32")
@fused
def _max_unpool(x: Tensor, indices: Labels, axes: int, sizes: Ints) -> Any:
    return emit.max_unpool(axes, x, indices, sizes)


@under_autocast(_of_volumes)
@fused
def _lp_pool(x: Tensor, axes: int, norm_type: float, window: Ints, stride: Ints, ceil_mode: bool) -> Any:
    return emit.lp_pool(axes, x, norm_type, window, stride, ceil_mode)


@under_autocast(_of_volumes)
@fused
def _avg_pool(x: Tensor, axes: int, window: Ints, stride: Ints, padding: Ints, ceil_mode: bool,
              count_include_pad: bool, divisor_override: int | None) -> Any:  # fmt: skip
    return emit.avg_pool(axes)(x, window, stride, padding, ceil_mode, count_include_pad, divisor_override)


@under_autocast(_of_volumes)
@fused
def _adaptive_avg_pool(x: Tensor, axes: int, size: Ints) -> Any:
    return emit.adaptive_avg_pool(axes)(x, size)


@under_autocast(_of_volumes)
@fused
def _adaptive_max_pool(x: Tensor, axes: int, size: Ints, indices: bool) -> Any:
    found = emit.adaptive_max_pool(axes)(x, size)
    return found if indices else found[0]


def _largest(found: tuple[Tensor, ...], indices: bool) -> Any:
    """The values, or the values and their places."""
    return found[:2] if indices else found[0]


def max_pool2d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:  # fmt: skip
    """The largest value under each window of x [N, C, H, W]; pixels outside count as -inf, NaN wins. ``stride``: the window's.

    With ``return_indices`` a pair: the values, and for each its place h W + w in its picture, i64; the first of equal values.
    Raises ShapeError, DTypeError.
    """
    steps = _numbers("max_pool2d", 2, kernel_size, stride, padding=padding, dilation=dilation)
    return _largest(_max_pool(x, 2, *steps, ceil_mode, return_indices), return_indices)


def avg_pool2d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Tensor:  # fmt: skip
    """The mean under each window of x [N, C, H, W]; ``count_include_pad``: padding counts as zeros. Raises as max_pool2d.

    With ``divisor_override`` the sum under each window, over that number.
    """
    steps = _numbers("avg_pool2d", 2, kernel_size, stride, padding=padding)
    return _avg_pool(x, 2, *steps, ceil_mode, count_include_pad, divisor_override)[0]


def _numbers(name: str, axes: int, window: Size, stride: Size | None, **more: Size) -> list[tuple[int, ...]]:
    """kernel_size, stride (the window's, if None or empty) and the rest, one number per axis. Raises ShapeError."""
    steps = emit.steps_of(name, axes, window, stride, **more)
    return [steps[key] for key in ("window", "stride", *more)]


def max_pool1d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:  # fmt: skip
    """As max_pool2d, for x [N, C, L]."""
    steps = _numbers("max_pool1d", 1, kernel_size, stride, padding=padding, dilation=dilation)
    return _largest(_max_pool(x, 1, *steps, ceil_mode, return_indices), return_indices)


def max_pool3d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:  # fmt: skip
    """As max_pool2d, for x [N, C, D, H, W]; one axis after the other."""
    steps = _numbers("max_pool3d", 3, kernel_size, stride, padding=padding, dilation=dilation)
    return _largest(_max_pool(x, 3, *steps, ceil_mode, return_indices), return_indices)


def avg_pool1d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Tensor:  # fmt: skip
    """As avg_pool2d, for x [N, C, L]."""
    steps = _numbers("avg_pool1d", 1, kernel_size, stride, padding=padding)
    return _avg_pool(x, 1, *steps, ceil_mode, count_include_pad, None)[0]


def avg_pool3d(x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Tensor:  # fmt: skip
    """As avg_pool2d, for x [N, C, D, H, W]; one axis after the other."""
    steps = _numbers("avg_pool3d", 3, kernel_size, stride, padding=padding)
    return _avg_pool(x, 3, *steps, ceil_mode, count_include_pad, divisor_override)[0]


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


def adaptive_max_pool1d(x: Tensor, output_size: Wanted, return_indices: bool = False) -> Any:
    """As adaptive_max_pool2d, for x [N, C, L]."""
    sizes = _sizes("adaptive_max_pool1d", 1, x, output_size)
    return _largest(_adaptive_max_pool(x, 1, sizes, return_indices), return_indices)


def adaptive_max_pool2d(x: Tensor, output_size: Wanted, return_indices: bool = False) -> Any:
    """The largest value of each block of x [N, C, H, W]; blocks as in adaptive_avg_pool2d."""
    sizes = _sizes("adaptive_max_pool2d", 2, x, output_size)
    return _largest(_adaptive_max_pool(x, 2, sizes, return_indices), return_indices)


def adaptive_max_pool3d(x: Tensor, output_size: Wanted, return_indices: bool = False) -> Any:
    """As adaptive_max_pool2d, for x [N, C, D, H, W]."""
    sizes = _sizes("adaptive_max_pool3d", 3, x, output_size)
    return _largest(_adaptive_max_pool(x, 3, sizes, return_indices), return_indices)


def lp_pool1d(
    x: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """As lp_pool2d, for x [N, C, L]."""
    return _lp_pool(x, 1, float(norm_type), *_numbers("lp_pool1d", 1, kernel_size, stride), ceil_mode)[0]


def lp_pool2d(
    x: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x**norm_type under each window)**(1/norm_type) of x [N, C, H, W], norm_type a whole number from 1 to 8.

    Raises UnsupportedError for another norm_type, ShapeError, DTypeError.
    """
    return _lp_pool(x, 2, float(norm_type), *_numbers("lp_pool2d", 2, kernel_size, stride), ceil_mode)[0]


def lp_pool3d(
    x: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """As lp_pool2d, for x [N, C, D, H, W]."""
    return _lp_pool(x, 3, float(norm_type), *_numbers("lp_pool3d", 3, kernel_size, stride), ceil_mode)[0]


def _unpooled(axes: int, x: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None, padding: Size,
              output_size: Sequence[int] | None) -> Tensor:  # fmt: skip
    name = f"max_unpool{axes}d"
    window, step, edge = _numbers(name, axes, kernel_size, stride, padding=padding)
    given = tuple(x.shape[x.dim() - axes :]) if isinstance(x, torch.Tensor) else (1,) * axes
    usual = [(n - 1) * u - 2 * p + r for n, u, p, r in zip(given, step, edge, window, strict=False)]
    sizes = usual if output_size is None else list(output_size)[-axes:]
    for asked, size, u in zip(sizes, usual, step, strict=False):
        if not size - u < asked < size + u:
            raise InputError(f"{name}: output_size must lie within a stride of {usual}; got {list(sizes)}")
    return _max_unpool(x, indices, axes, sizes)[0]


def max_unpool1d(x: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:  # fmt: skip
    """As max_unpool2d, for x [N, C, L]."""
    return _unpooled(1, x, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(x: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:  # fmt: skip
    """x [N, C, P, Q] at the places i64 [N, C, P, Q] that a max pooling gave, in pictures of zeros [N, C, H, W].

    The pooling's window, stride and padding give H and W, or ``output_size`` does, which may differ by less than a stride. Of
    equal places the last stays. Raises OutOfRangeError (an IndexError) for a place outside, InputError, ShapeError, DTypeError.
    """
    return _unpooled(2, x, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(x: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:  # fmt: skip
    """As max_unpool2d, for x [N, C, D, H, W]."""
    return _unpooled(3, x, indices, kernel_size, stride, padding, output_size)
