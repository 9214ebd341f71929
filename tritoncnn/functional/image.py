"""Pictures resized, padded, shuffled and joined, and rows looked up: moves, each with a gradient that adds in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from tritoncnn.errors import InputError, ShapeError
from tritoncnn.formulas import index as take
from tritoncnn.formulas import sample as emit
from tritoncnn.formulas.convolution import numbers_of, per_axis
from tritoncnn.formulas.dtypes import narrow, widen
from tritoncnn.functional.dispatch import AnyFloat, Floats, Ints, Labels, Tensors, fused, under_autocast
from tritoncnn.functional.pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

__all__ = ["concat", "embedding", "interpolate", "one_hot", "pad", "pixel_shuffle", "pixel_unshuffle"]

Tensor = torch.Tensor

RESIZERS = {
    "nearest": emit.upsample_nearest,
    "nearest-exact": emit.upsample_nearest_exact,
    "linear": emit.upsample_linear,
    "bilinear": emit.upsample_linear,
    "trilinear": emit.upsample_linear,
    "bicubic": emit.upsample_bicubic,
}
SMOOTH = {"bilinear": emit.upsample_linear_smooth, "bicubic": emit.upsample_bicubic_smooth}
MODES = {  # how many axes of pixels each resizes
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "linear": (1,), "bilinear": (2,), "trilinear": (3,), "bicubic": (2,),
    "area": (1, 2, 3),
}  # fmt: skip


@fused
def _resize(x: Tensor, size: Ints | None, scale_factor: Floats, mode: str, align_corners: bool, antialias: bool) -> Any:
    if mode.startswith("nearest"):
        return RESIZERS[mode](x, size, scale_factor)
    resize = (SMOOTH if antialias else RESIZERS)[mode]
    y = resize(widen(x), size, align_corners, scale_factor)  # one axis after the other, rounded once
    return narrow(y, x)


@fused
def _pad(x: Tensor, padding: Ints, mode: str, value: AnyFloat) -> Any:
    return emit.pad(x, padding, mode, value)


@fused
def _embedding(index: Labels, weight: Tensor, padding_idx: int) -> Any:
    return take.embedding(weight, index, padding_idx)


@under_autocast("widest")
@fused
def _concat(tensors: Tensors, dim: int) -> Any:
    return take.concat(tensors, dim)


@fused
def _one_hot(index: Labels, num_classes: int) -> Any:
    return take.one_hot(index, num_classes)


@fused
def _pixel_shuffle(x: Tensor, factor: int) -> Any:
    return emit.pixel_shuffle(x, factor)


@fused
def _pixel_unshuffle(x: Tensor, factor: int) -> Any:
    return emit.pixel_unshuffle(x, factor)


def interpolate(
    x: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """x [N, C, ...] resized to ``size`` pixels, or to ``scale_factor`` times as many (rounded down), along each axis.

    ``mode``: one of RESIZERS, with torch's rules for pixel centres; they go by the scale factor given, or with
    ``recompute_scale_factor`` by that of the sizes. "area" is adaptive_avg_pool. ``antialias``
    widens the filters of bilinear and bicubic where they shrink x, so that all its pixels count.
    Raises InputError, ShapeError, DTypeError.
    """
    if mode not in RESIZERS and mode != "area":
        raise InputError(f"interpolate: mode must be one of {', '.join(RESIZERS)}, area; got {mode!r}")
    if align_corners and (mode == "area" or mode.startswith("nearest")):
        raise InputError(f"interpolate: align_corners is for linear and cubic modes; got mode {mode!r}")
    if antialias and mode not in SMOOTH:
        raise InputError(f"interpolate: antialias is for mode {' or '.join(SMOOTH)}; got mode {mode!r}")
    axes = x.dim() - 2 if isinstance(x, torch.Tensor) else 1
    if axes not in MODES[mode]:
        dims = " or ".join(str(n + 2) for n in MODES[mode])
        raise ShapeError(
            f"interpolate: x must have {dims} dims, [N, C, ...pixels], for mode {mode!r}; got {list(x.shape)}"
        )
    if (size is None) == (scale_factor is None):
        raise InputError(f"interpolate: one of size and scale_factor must be given; got {size} and {scale_factor}")
    factors = _factors(scale_factor, axes)
    sizes = None if size is None else per_axis("interpolate: size", size, axes)
    if factors and (mode == "area" or recompute_scale_factor) and isinstance(x, torch.Tensor):
        sizes, factors = tuple(math.floor(n * f) for n, f in zip(x.shape[2:], factors, strict=True)), []
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[axes - 1](x, sizes)
    return _resize(x, sizes, factors, mode, bool(align_corners), antialias)[0]


def _factors(scale_factor: float | Sequence[float] | None, axes: int) -> list[float]:
    """One per axis, none for None. Raises InputError, ShapeError."""
    if scale_factor is None:
        return []
    given = [scale_factor] * axes if isinstance(scale_factor, (int, float)) else list(scale_factor)
    if len(given) != axes:
        raise ShapeError(f"interpolate: scale_factor must be one number or {axes}; got {given}")
    if not all(0 < factor < math.inf for factor in given):
        raise InputError(f"interpolate: scale_factor must be finite and above 0; got {given}")
    return [float(factor) for factor in given]


def pad(x: Tensor, padding: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Pixels added (or with negative numbers taken away) as torch.nn.functional.pad does: last axis first, before and after.

    ``mode`` is constant (with ``value``), reflect, replicate or circular. Raises ShapeError, InputError.
    """
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise InputError(f"pad: mode must be one of constant, reflect, replicate, circular; got {mode!r}")
    if mode != "constant" and value:
        raise InputError(f"pad: value is for mode 'constant'; got {value} for mode {mode!r}")
    return _pad(x, numbers_of("pad: padding", padding), mode, 0.0 if value is None else value)[0]


def embedding(index: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of weight [V, C] by i64 numbers [...] -> [..., C]; row ``padding_idx`` gets no gradient. The gradient adds in order.

    Raises OutOfRangeError (an IndexError) for a number outside 0..V-1, ShapeError, DTypeError.
    """
    skipped = -1
    if padding_idx is not None and isinstance(weight, torch.Tensor) and weight.dim():
        V = weight.shape[0]
        if not -V <= padding_idx < V:
            raise InputError(f"embedding: padding_idx must lie in {-V}..{V - 1}; got {padding_idx}")
        skipped = padding_idx % V
    return _embedding(index, weight, skipped)[0]


def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """[N, C r r, H, W] -> [N, C, H r, W r]. Source: Shi et al. 2016, "Real-time single image and video super-resolution"."""
    return _pixel_shuffle(x, upscale_factor)[0]


def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """[N, C, H r, W r] -> [N, C r r, H, W]."""
    return _pixel_unshuffle(x, downscale_factor)[0]


def concat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape but for ``dim`` joined along it, as torch.cat; each gradient is its part. Raises ShapeError."""
    return _concat(list(tensors) if isinstance(tensors, (list, tuple)) else tensors, dim)[0]


def one_hot(index: Tensor, num_classes: int) -> Tensor:
    """i64 numbers [...] -> i64 [..., num_classes]: 1 at the number, 0 elsewhere.

    Raises OutOfRangeError (an IndexError) for a number outside 0..num_classes-1, InputError, DTypeError.
    """
    if num_classes < 1:
        raise InputError(f"one_hot: num_classes must be at least 1; got {num_classes}")
    return _one_hot(index, num_classes)[0]
