"""What torch says of numbers that it reads from tensors, said in tensors while its tracer runs.

BatchNorm(momentum=None) reads its counter as a Python number, gaussian_nll_loss asks whether a variance is below 0, a
transformer whether its mask is the causal one, torch.distributions whether numbers lie where they may, ctc_loss and cov go by
numbers, too; instance norm moves its running statistics out of sight.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Distribution
from torch.nn.modules import transformer
from torch.nn.modules.batchnorm import _BatchNorm

from tritoncnn.capture.ctc import ctc_loss
from tritoncnn.capture.patches import patched
from tritoncnn.errors import UnsupportedError

Tensor = torch.Tensor


@contextlib.contextmanager
def in_tensors() -> Iterator[None]:
    """Within, these compute with tensors alone and write their buffers in the open."""
    patches: tuple[tuple[Any, str, Any], ...] = (
        (_BatchNorm, "forward", _batch_norm(_BatchNorm.forward)),
        (F, "instance_norm", _instance_norm(F.instance_norm)),
        (F, "gaussian_nll_loss", _gaussian_nll_loss),
        (F, "ctc_loss", ctc_loss),
        (torch, "cov", _cov),
        (torch, "corrcoef", _corrcoef),
        (torch.Tensor, "cov", _cov),
        (torch.Tensor, "corrcoef", _corrcoef),
        (nn.CrossMapLRN2d, "forward", _cross_map_lrn),
        (transformer, "_detect_is_causal_mask", _hinted),
        (Distribution, "_validate_args", False),
    )
    with patched(patches):
        yield


def _batch_norm(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def batch_norm(layer: _BatchNorm, x: Tensor) -> Tensor:
        averages = layer.training and layer.track_running_stats and layer.momentum is None
        return _cumulative_batch_norm(layer, x) if averages else forward(layer, x)

    return batch_norm


def _instance_norm(instance_norm: Callable[..., Tensor]) -> Callable[..., Tensor]:
    signature = inspect.signature(instance_norm)

    @functools.wraps(instance_norm)
    def instance(*args: Any, **options: Any) -> Tensor:
        given = signature.bind(*args, **options)
        given.apply_defaults()
        told = given.arguments
        moves = told["running_mean"] is not None and told.pop("use_input_stats")
        return _moving_instance_norm(**told) if moves else instance_norm(*args, **options)

    return instance


def _hinted(mask: Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
    """Whether a mask may be taken for the causal one: by the caller's word alone. The mask itself says the same."""
    return is_causal is True


def _cross_map_lrn(layer: nn.CrossMapLRN2d, x: Tensor) -> Tensor:
    """It is a Function with memory of its own; from channel size // 2 + 1 on it adds the square of the first one, too."""
    raise UnsupportedError("CrossMapLRN2d; nn.LocalResponseNorm is Krizhevsky's formula")


def _cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """torch's: covariances [V, V] of the lines of input [V, N], with weights for its columns; of one line without dims."""
    if input.dim() > 2:
        raise ValueError(f"cov: input must have no more than 2 dims; got {list(input.shape)}")
    x = input.reshape(-1, input.shape[-1]) if input.dim() else input.reshape(1, 1)
    weights = [w for w in (fweights, aweights) if w is not None]
    w = functools.reduce(torch.mul, weights) if weights else None
    if w is None:
        total: Any = float(x.shape[1])
        norm: Any = torch.full((), max(total - correction, 0.0), dtype=x.dtype)
    else:
        w = w.to(x.dtype) if x.is_floating_point() else w.to(torch.float32)
        total = w.sum()
        less = (w * aweights).sum() / total if aweights is not None else 1.0
        norm = (total - correction * less).clamp(min=0)
    x = x if w is None else x * w
    z = (input.reshape(x.shape)) - x.sum(1, keepdim=True) / total
    y = (z if w is None else z * w) @ z.T / norm
    return y.squeeze() if input.dim() < 2 else y


def _corrcoef(input: Tensor) -> Tensor:
    """torch's: covariances over the square roots of the variances, between -1 and 1."""
    c = _cov(input)
    if not c.dim():
        return c / c
    s = c.diagonal().sqrt()
    return (c / s[:, None] / s[None, :]).clamp(-1, 1)


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
