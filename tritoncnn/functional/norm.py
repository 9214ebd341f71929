"""Normalisation. Statistics are taken in f32, in two passes, whatever the tensors hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tritoncnn.errors import InputError, LayoutError
from tritoncnn.formulas import norm
from tritoncnn.formulas.convolution import numbers_of
from tritoncnn.functional.activation import add_residual, apply_activation
from tritoncnn.functional.dispatch import Ints, Wide, fused, under_autocast

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm"]

Tensor = torch.Tensor


@under_autocast("widest")
@fused
def _batch_norm(x: Tensor, weight: Wide | None, bias: Wide | None, running_mean: Wide, running_var: Wide, eps: float,
                residual: Tensor | None, activation: str) -> Any:  # fmt: skip
    y = norm.batch_norm_eval(x, weight, bias, running_mean, running_var, eps)
    return apply_activation(activation, add_residual("batch_norm", y, residual))


@under_autocast("widest")
@fused
def _batch_norm_train(x: Tensor, weight: Wide | None, bias: Wide | None, running_mean: Wide | None,
                      running_var: Wide | None, momentum: float, eps: float, residual: Tensor | None,
                      activation: str) -> Any:  # fmt: skip
    y, new_mean, new_var = norm.batch_norm_train(x, weight, bias, running_mean, running_var, momentum, eps)
    y = apply_activation(activation, add_residual("batch_norm", y, residual))
    return y if new_mean is None else (y, new_mean, new_var)


@fused
def _group_norm(x: Tensor, num_groups: int, weight: Wide | None, bias: Wide | None, eps: float) -> Any:
    return norm.group_norm(x, num_groups, weight, bias, eps)


@fused
def _instance_norm(x: Tensor, weight: Wide | None, bias: Wide | None, running_mean: Wide | None,
                   running_var: Wide | None, momentum: float, eps: float) -> Any:  # fmt: skip
    y, *new = norm.instance_norm_train(x, weight, bias, running_mean, running_var, momentum, eps)
    return y if new[0] is None else (y, *new)


@fused
def _layer_norm(x: Tensor, normalized_shape: Ints, weight: Wide | None, bias: Wide | None, eps: float) -> Any:
    return norm.layer_norm(x, normalized_shape, weight, bias, eps)


@under_autocast("f32")
@fused
def _local_response_norm(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Any:
    return norm.local_response_norm(x, size, alpha, beta, k)


def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha mean(x^2))^beta, the mean over ``size`` neighbouring channels of x [N, C, ...], zeros beyond the ends.

    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks", section 3.3.
    """
    return _local_response_norm(x, size, alpha, beta, k)[0]


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    residual: Tensor | None = None,
    activation: str = "none",
) -> Tensor:
    """activation((x - mean) / sqrt(var + eps) * weight + bias + residual) per channel of x [N, C, ...], in one pass.

    In training the statistics are the batch's, and the running ones ([C], if given) move towards them by ``momentum``, in
    place; else they are the running ones. Source: Ioffe & Szegedy 2015. Raises ShapeError, DTypeError, InputError.
    """
    check_running("batch_norm", running_mean, running_var, "" if training else "training is False", training)
    if training:
        y, *new = _batch_norm_train(x, weight, bias, running_mean, running_var, momentum, eps, residual, activation)
        move_running(running_mean, running_var, new)
        return y
    return _batch_norm(x, weight, bias, running_mean, running_var, eps, residual, activation)[0]


def check_running(name: str, mean: Any, var: Any, needed: str, written: bool) -> None:
    """Raises InputError unless both are there or, where nothing says that they are ``needed``, none; LayoutError for what is
    ``written`` and overlaps itself.
    """
    if (mean is None) != (var is None) or (needed and mean is None):
        kind = f"must be given when {needed}" if needed else "must be given both or none"
        absent = "None" if mean is var else f"{'running_mean' if mean is None else 'running_var'} = None"
        raise InputError(f"{name}: running_mean and running_var {kind}; got {absent}")
    for key, value in {"running_mean": mean, "running_var": var}.items() if written else ():
        strided = isinstance(value, Tensor) and value.layout is torch.strided
        if strided and any(n > 1 and step == 0 for n, step in zip(value.shape, value.stride(), strict=True)):
            raise LayoutError(
                f"{name}: {key} is written to, so its elements must not overlap in memory; got strides "
                f"{list(value.stride())} for {list(value.shape)}; use .contiguous()"
            )


def move_running(mean: Tensor | None, var: Tensor | None, new: Sequence[Tensor]) -> None:
    if new and mean is not None and var is not None:
        with torch.no_grad():
            mean.copy_(new[0])
            var.copy_(new[1])


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Each of ``num_groups`` groups of channels of each sample gets mean 0 and variance 1. Source: Wu & He 2018."""
    return _group_norm(x, num_groups, weight, bias, eps)[0]


def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of each sample gets mean 0 and variance 1. Source: Ulyanov et al. 2016.

    Running statistics ([C], if given) move towards the samples' mean ones by ``momentum``, in place. Without
    ``use_input_stats`` the running ones are what is normalized by. Raises ShapeError, DTypeError, InputError.
    """
    needed = "" if use_input_stats else "use_input_stats is False"
    check_running("instance_norm", running_mean, running_var, needed, use_input_stats)
    if not use_input_stats:
        return _batch_norm(x, weight, bias, running_mean, running_var, eps, None, "none")[0]
    y, *new = _instance_norm(x, weight, bias, running_mean, running_var, momentum, eps)
    move_running(running_mean, running_var, new)
    return y


def layer_norm(
    x: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """The last dims, which must be ``normalized_shape``, get mean 0 and variance 1 together. Source: Ba et al. 2016."""
    return _layer_norm(x, numbers_of("layer_norm: normalized_shape", normalized_shape), weight, bias, eps)[0]
