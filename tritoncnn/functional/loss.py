"""Losses. Each is computed in f32 and answered in the input's dtype; ``reduction`` is mean, sum or none, as in torch."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import InputError
from tritoncnn.formulas import loss
from tritoncnn.functional.dispatch import Labels, fused, under_autocast

__all__ = [
    "binary_cross_entropy_with_logits", "cross_entropy", "dice_loss", "focal_loss", "gram_matrix", "huber_loss",
    "l1_loss", "mse_loss", "smooth_l1_loss", "total_variation",
]  # fmt: skip

Tensor = torch.Tensor
REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def _reduction(op: str, name: str) -> int:
    if name not in REDUCTIONS:
        raise InputError(f"{op}: reduction must be one of {', '.join(REDUCTIONS)}; got {name!r}")
    return REDUCTIONS[name]


@under_autocast("f32")
@fused
def _cross_entropy(input: Tensor, target: Labels, weight: Tensor | None, reduction: int, ignore_index: int,
                   label_smoothing: float) -> Any:  # fmt: skip
    return loss.cross_entropy(input, target, weight, reduction, ignore_index, label_smoothing)


@under_autocast("f32")
@fused
def _cross_entropy_soft(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: int, label_smoothing: float
) -> Any:
    return loss.cross_entropy(input, target, weight, reduction, -100, label_smoothing)


@under_autocast("f32")
@fused
def _mse_loss(input: Tensor, target: Tensor, reduction: int) -> Any:
    return loss.mse_loss(input, target, reduction)


@under_autocast("f32")
@fused
def _l1_loss(input: Tensor, target: Tensor, reduction: int) -> Any:
    return loss.l1_loss(input, target, reduction)


@under_autocast("f32")
@fused
def _smooth_l1_loss(input: Tensor, target: Tensor, reduction: int, beta: float) -> Any:
    return loss.smooth_l1_loss(input, target, reduction, beta)


@under_autocast("f32")
@fused
def _huber_loss(input: Tensor, target: Tensor, reduction: int, delta: float) -> Any:
    return loss.huber_loss(input, target, reduction, delta)


@under_autocast("f32")
@fused
def _binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None,
                                      reduction: int) -> Any:  # fmt: skip
    return loss.bce_with_logits(input, target, weight, pos_weight, reduction)


@under_autocast("f32")
@fused
def _focal_loss(input: Tensor, target: Tensor, alpha: float, gamma: float, reduction: int) -> Any:
    return loss.focal_loss(input, target, alpha, gamma, reduction)


@under_autocast("f32")
@fused
def _dice_loss(input: Tensor, target: Tensor, smooth: float) -> Any:
    return loss.dice_loss(input, target, smooth)


@under_autocast("low")
@fused
def _gram_matrix(x: Tensor) -> Any:
    return loss.gram_matrix(x)


@under_autocast("f32")
@fused
def _total_variation(x: Tensor, reduction: int) -> Any:
    return loss.total_variation(x, reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target] for logits [N, C, ...] and i64 class numbers [N, ...] (per pixel), or probabilities
    [N, C, ...]. ``weight`` [C] per class; samples of ``ignore_index`` do not count.

    Raises OutOfRangeError (an IndexError) for a class number outside 0..C-1 that is not ``ignore_index``, ShapeError,
    DTypeError, InputError.
    """
    kind = _reduction("cross_entropy", reduction)
    if isinstance(target, torch.Tensor) and target.is_floating_point():
        return _cross_entropy_soft(input, target, weight, kind, label_smoothing)[0]
    return _cross_entropy(input, target, weight, kind, ignore_index, label_smoothing)[0]


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)^2. The target broadcasts."""
    return _mse_loss(input, target, _reduction("mse_loss", reduction))[0]


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|input - target|."""
    return _l1_loss(input, target, _reduction("l1_loss", reduction))[0]


def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2. Source: Girshick 2015, "Fast R-CNN"."""
    return _smooth_l1_loss(input, target, _reduction("smooth_l1_loss", reduction), beta)[0]


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2). Source: Huber 1964."""
    return _huber_loss(input, target, _reduction("huber_loss", reduction), delta)[0]


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(pos_weight t log s + (1 - t) log(1 - s)) with s = sigmoid(input), without overflow."""
    kind = _reduction("binary_cross_entropy_with_logits", reduction)
    return _binary_cross_entropy_with_logits(input, target, weight, pos_weight, kind)[0]


def focal_loss(
    input: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "mean"
) -> Tensor:
    """Binary cross entropy of logits, weighted by (1 - p_t)^gamma and alpha_t (alpha < 0: no alpha).

    Source: Lin et al. 2017, "Focal loss for dense object detection", equation 5.
    """
    return _focal_loss(input, target, alpha, gamma, _reduction("focal_loss", reduction))[0]


def dice_loss(input: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - (2 sum(p t) + smooth) / (sum p + sum t + smooth), mean over samples; probabilities [N, ...].

    Source: Milletari et al. 2016, "V-Net".
    """
    return _dice_loss(input, target, smooth)[0]


def gram_matrix(x: Tensor) -> Tensor:
    """F F^T / (C H W) [1, C, C] of features [1, C, H, W]. Source: Gatys et al. 2016, equation 3."""
    return _gram_matrix(x)[0]


def total_variation(x: Tensor, reduction: str = "sum") -> Tensor:
    """Sum (or mean per element) of |differences| of vertical and horizontal neighbours. Source: Rudin et al. 1992."""
    kind = _reduction("total_variation", reduction)
    if kind == 0:
        raise InputError("total_variation: reduction must be mean or sum; got 'none'")
    return _total_variation(x, kind)[0]
