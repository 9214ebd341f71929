"""Layers of torch.nn that torch's tracer cannot follow, said in tensors while it runs.

BatchNorm(momentum=None) reads its counter as a Python number, gaussian_nll_loss asks whether a variance is below 0; instance
norm moves its running statistics out of sight.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.modules.batchnorm import _BatchNorm

Tensor = torch.Tensor


@contextlib.contextmanager
def in_tensors() -> Iterator[None]:
    """Within, these layers compute with tensors alone and write their buffers in the open."""
    forward, instance_norm = _BatchNorm.forward, F.instance_norm
    signature = inspect.signature(instance_norm)

    def batch_norm(layer: _BatchNorm, x: Tensor) -> Tensor:
        averages = layer.training and layer.track_running_stats and layer.momentum is None
        return _cumulative_batch_norm(layer, x) if averages else forward(layer, x)

    @functools.wraps(instance_norm)
    def instance(*args: Any, **options: Any) -> Tensor:
        given = signature.bind(*args, **options)
        given.apply_defaults()
        told = given.arguments
        moves = told["running_mean"] is not None and told.pop("use_input_stats")
        return _moving_instance_norm(**told) if moves else instance_norm(*args, **options)

    gaussian = F.gaussian_nll_loss
    _BatchNorm.forward, F.instance_norm = batch_norm, instance  # type: ignore[method-assign, assignment]
    F.gaussian_nll_loss = _gaussian_nll_loss  # type: ignore[assignment]
    try:
        yield
    finally:
        _BatchNorm.forward, F.instance_norm = forward, instance_norm  # type: ignore[method-assign]
        F.gaussian_nll_loss = gaussian


def _cumulative_batch_norm(layer: _BatchNorm, x: Tensor) -> Tensor:
    """The running statistics are the mean over all batches so far: batch number n counts 1 / n."""
    layer._check_input_dim(x)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    mean, var = torch.zeros_like(layer.running_mean), torch.zeros_like(layer.running_var)
    y = F.batch_norm(x, mean, var, layer.weight, layer.bias, True, 1.0, layer.eps)
    share = 1 / layer.num_batches_tracked.to(mean.dtype)
    for running, batch in ((layer.running_mean, mean), (layer.running_var, var)):
        running.mul_(1 - share).add_(batch * share)
    return y


def _moving_instance_norm(input: Tensor, running_mean: Tensor, running_var: Tensor, weight: Tensor | None,
                          bias: Tensor | None, momentum: float, eps: float) -> Tensor:  # fmt: skip
    """Batch norm of all channels of all samples; the running statistics move towards the samples' mean ones."""
    N, C, *pixels = input.shape
    mean, var = running_mean.repeat(N), running_var.repeat(N)
    y = F.batch_norm(input.reshape(1, N * C, *pixels), mean, var, None, None, True, momentum, eps).reshape(input.shape)
    running_mean.copy_(mean.reshape(N, C).mean(0))
    running_var.copy_(var.reshape(N, C).mean(0))
    shape = (1, C, *(1,) * len(pixels))
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def _gaussian_nll_loss(input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6,
                       reduction: str = "mean") -> Tensor:  # fmt: skip
    """torch's, but NaN where it raises for a variance below 0."""
    variance = var if isinstance(var, torch.Tensor) else torch.full_like(input, var)
    if variance.dim() == input.dim() - 1:
        variance = variance.unsqueeze(-1)
    variance = torch.where(variance < 0, torch.nan, variance)
    variance = variance + (variance.clamp(min=eps) - variance).detach()  # its gradient does not see the bound
    y = 0.5 * (variance.log() + (input - target).square() / variance)
    y = y + 0.5 * math.log(2 * math.pi) if full else y
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return y if reduction == "none" else y.mean() if reduction == "mean" else y.sum()
