"""Pictures resized, padded, shuffled and joined, and rows looked up: moves, each with a gradient that adds in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tritoncnn.capture import emit_index as take
from tritoncnn.capture import emit_sample as emit
from tritoncnn.capture.emit_pointwise import narrow, widen
from tritoncnn.errors import InputError
from tritoncnn.functional.dispatch import Ints, Labels, Tensors, fused

Tensor = torch.Tensor

RESIZERS = {
    "nearest": emit.upsample_nearest,
    "nearest-exact": emit.upsample_nearest_exact,
    "linear": emit.upsample_linear,
    "bilinear": emit.upsample_linear,
    "trilinear": emit.upsample_linear,
    "bicubic": emit.upsample_bicubic,
}


@fused
def _resize(x: Tensor, size: Ints, mode: str, align_corners: bool) -> Any:
    if mode.startswith("nearest"):
        return RESIZERS[mode](x, size)
    return narrow(RESIZERS[mode](widen(x), size, align_corners), x)  # one axis after the other, rounded once


@fused
def _pad(x: Tensor, padding: Ints, mode: str, value: float) -> Any:
    return emit.pad(x, padding, mode, value)


@fused
def _embedding(index: Labels, weight: Tensor, padding_idx: int) -> Any:
    return take.embedding(weight, index, padding_idx)


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


def interpolate(x: Tensor, size: int | Sequence[int], mode: str = "nearest", align_corners: bool = False) -> Tensor:
    """x [N, C, ...] resized to ``size`` pixels along each axis, by one of RESIZERS, with torch's rules for pixel centres.

    Raises InputError for another mode, ShapeError.
    """
    if mode not in RESIZERS:
        raise InputError(f"interpolate: mode must be one of {', '.join(RESIZERS)}; got {mode!r}")
    if align_corners and mode.startswith("nearest"):
        raise InputError(f"interpolate: align_corners is for linear and cubic modes; got mode {mode!r}")
    axes = x.dim() - 2 if isinstance(x, torch.Tensor) else 0
    sizes = [int(size)] * axes if isinstance(size, int) else list(size)
    return _resize(x, sizes, mode, align_corners)[0]


def pad(x: Tensor, padding: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Pixels added (or with negative numbers taken away) as torch.nn.functional.pad does: last axis first, before and after.

    ``mode`` is constant (with ``value``), reflect, replicate or circular. Raises ShapeError, InputError.
    """
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise InputError(f"pad: mode must be one of constant, reflect, replicate, circular; got {mode!r}")
    return _pad(x, list(padding), mode, value)[0]


def embedding(index: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of weight [V, C] by i64 numbers [...] -> [..., C]; row ``padding_idx`` gets no gradient. The gradient adds in order.

    A number outside 0..V-1 gives zeros. Raises ShapeError, DTypeError.
    """
    return _embedding(index, weight, -1 if padding_idx is None else padding_idx)[0]


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
    """i64 numbers [...] -> i64 [..., num_classes]: 1 at the number, 0 elsewhere; all 0 for one outside 0..num_classes-1.

    Raises InputError, DTypeError.
    """
    if num_classes < 1:
        raise InputError(f"one_hot: num_classes must be at least 1; got {num_classes}")
    return _one_hot(index, num_classes)[0]
