"""Sizes and strides of what ATen ops give, for two reasons.

The commonest ops, of tensors that lie row-major: torch knows these, too, but its rules load torch._dynamo and sympy, which takes
longer than tracing a model. And ``LAID``, ops of which torch's rules give other strides than its CPU kernels do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

aten = torch.ops.aten
Tensor = torch.Tensor


def _made(like: Tensor, sizes: Sequence[int]) -> Tensor:
    return torch.empty(sizes, dtype=like.dtype, device=like.device)


def _dense(*tensors: Tensor | None) -> bool:
    """Whether all are row-major floats of one dtype, with elements."""
    there = [tensor for tensor in tensors if tensor is not None]
    alike = all(tensor.is_contiguous() and tensor.dtype == there[0].dtype for tensor in there)
    return alike and there[0].is_floating_point() and all(tensor.numel() for tensor in there)


def _convolution(x: Tensor, w: Tensor, b: Tensor | None, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
                 transposed: bool, output_padding: Sequence[int], groups: int) -> Tensor | None:  # fmt: skip
    rank = w.dim() - 2
    if (
        transposed
        or not _dense(x, w, b)
        or x.dim() != w.dim()
        or x.shape[1] != w.shape[1] * groups
        or w.shape[0] % groups
    ):
        return None
    if not all(len(one) == rank for one in (stride, padding, dilation)) or (b is not None and b.shape != w.shape[:1]):
        return None
    sizes = [
        (size + 2 * pad - dil * (taps - 1) - 1) // step + 1
        for size, taps, step, pad, dil in zip(x.shape[2:], w.shape[2:], stride, padding, dilation, strict=True)
    ]
    return _made(x, (x.shape[0], w.shape[0], *sizes)) if min(sizes) > 0 else None


def _max_pool2d(x: Tensor, taps: Sequence[int], stride: Sequence[int] = (), padding: Sequence[int] = (0, 0),
                dilation: Sequence[int] = (1, 1), ceil_mode: bool = False) -> tuple[Tensor, Tensor] | None:  # fmt: skip
    stride = stride or taps
    if (
        not _dense(x)
        or x.dim() != 4
        or ceil_mode
        or not all(len(one) == 2 for one in (taps, stride, padding, dilation))
    ):
        return None
    if any(2 * pad > tap for pad, tap in zip(padding, taps, strict=True)):
        return None
    sizes = [
        (size + 2 * pad - dil * (tap - 1) - 1) // step + 1
        for size, tap, step, pad, dil in zip(x.shape[2:], taps, stride, padding, dilation, strict=True)
    ]
    if min(sizes) < 1:
        return None
    shape = (*x.shape[:2], *sizes)
    return _made(x, shape), torch.empty(shape, dtype=torch.int64, device=x.device)


def _adaptive_avg_pool2d(x: Tensor, sizes: Sequence[int]) -> Tensor | None:
    fits = x.dim() == 4 and len(sizes) == 2 and min(sizes) > 0 and _dense(x)
    return _made(x, (*x.shape[:2], *sizes)) if fits else None


def _addmm(b: Tensor, x: Tensor, w: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor | None:
    fits = x.dim() == w.dim() == 2 and x.shape[1] == w.shape[0] and b.shape in (w.shape[1:], (1,))
    return _made(x, (x.shape[0], w.shape[1])) if fits and x.dtype == w.dtype == b.dtype else None


def _batch_norm(x: Tensor, channels: Sequence[Tensor | None], saved: Sequence[int]) -> tuple[Tensor, ...] | None:
    if (
        not _dense(x, *channels)
        or x.dim() < 2
        or any(one is not None and one.shape != x.shape[1:2] for one in channels)
    ):
        return None
    return _made(x, x.shape), _made(x, saved), _made(x, saved)


def _batch_norm_train(x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, var: Tensor | None,
                      training: bool, momentum: float, eps: float) -> tuple[Tensor, ...] | None:  # fmt: skip
    return _batch_norm(x, (weight, bias, mean, var), x.shape[1:2]) if training else None


def _batch_norm_eval(x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor,
                     momentum: float, eps: float) -> tuple[Tensor, ...] | None:  # fmt: skip
    return _batch_norm(x, (weight, bias, mean, var), (0,))


def _alike(x: Tensor) -> Tensor | None:
    return _made(x, x.shape) if _dense(x) else None


def _both(x: Tensor, y: Any, *, alpha: float = 1) -> Tensor | None:
    if isinstance(y, Tensor):
        return _made(x, x.shape) if _dense(x, y) and x.shape == y.shape else None
    whole = type(y) is int and type(alpha) is int and x.dtype is torch.int64
    return _made(x, x.shape) if x.is_contiguous() and (whole or _dense(x)) else None


def _into(rule: Callable[..., Tensor | None]) -> Callable[..., Tensor | None]:
    """The rule of the op that changes its first operand in place."""
    return lambda x, *others, **options: None if rule(x, *others, **options) is None else x


def _mean(
    x: Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor | None:
    if not _dense(x) or dtype not in (None, x.dtype) or any(not -x.dim() <= d < x.dim() for d in dim or ()):
        return None
    reduced = {d % x.dim() for d in dim or range(x.dim())}
    return _made(x, [1 if d in reduced else size for d, size in enumerate(x.shape) if keepdim or d not in reduced])


def _native_dropout(x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor] | None:
    return (_made(x, x.shape), torch.empty(x.shape, dtype=torch.bool, device=x.device)) if _dense(x) else None


def _log_softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor | None:
    return _alike(x) if not half_to_float and -x.dim() <= dim < x.dim() else None


def _nll_loss(
    x: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignored: int
) -> tuple[Tensor, Tensor] | None:
    if not _dense(x, weight) or x.dim() != 2 or target.shape != x.shape[:1] or target.dtype != torch.int64:
        return None
    if weight is not None and weight.shape != x.shape[1:]:
        return None
    return _made(x, () if reduction else x.shape[:1]), _made(x, ())


def _log_sigmoid(x: Tensor) -> Tensor:
    return _made(x, x.shape)


def _log_sigmoid_forward(x: Tensor) -> tuple[Tensor, Tensor]:
    return _made(x, x.shape), _made(x, x.shape)


def _roll(x: Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> Tensor | None:
    """The kernel joins two parts, for one dim after the other; without dims those of a line."""
    if not dims:
        return _made(x, x.shape)
    if len(shifts) != len(dims) or x.dim() == 0:
        return None
    for shift, dim in zip(shifts, dims, strict=True):
        if x.numel():
            first = -shift % x.shape[dim]
            x = torch.cat([x.narrow(dim, first, x.shape[dim] - first), x.narrow(dim, 0, first)], dim)
    return x


def _channel_shuffle(x: Tensor, groups: int) -> Tensor | None:
    """As ``torch.cat`` of x alone: channels-last where x is taken for it, else row-major."""
    return torch.cat([x], 1) if x.dim() > 2 and groups > 0 and x.shape[1] % groups == 0 else None


def _as_operand(func: Any) -> Callable[..., Tensor]:
    """Channels-last where the first operand is, of 4 or 5 dims."""

    def rule(x: Tensor, *others: Any) -> Tensor:
        found: Tensor = func(x, *others)
        last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim())
        if last is None or x.is_contiguous() or not x.is_contiguous(memory_format=last):
            return found
        return torch.empty_like(found, memory_format=last)

    return rule


def _pad(x: Tensor, sizes: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor | None:
    return _as_operand(aten.pad.default)(x, sizes, mode, value) if mode in ("reflect", "replicate") else None


LAID: dict[Any, Callable[..., Any]] = {
    aten.log_sigmoid.default: _log_sigmoid,
    aten.log_sigmoid_forward.default: _log_sigmoid_forward,
    aten.roll.default: _roll,
    aten.pad.default: _pad,
    aten.channel_shuffle.default: _channel_shuffle,
    aten.native_channel_shuffle.default: _channel_shuffle,
    **{
        op: _as_operand(op)
        for op in (aten.max_unpool2d.default, aten.reflection_pad3d.default, aten.replication_pad3d.default)
    },
}
# A rule returns None for what torch is to be asked: other layouts, and what is wrong.
SIZES: dict[Any, Callable[..., Any]] = LAID | {
    aten.convolution.default: _convolution,
    aten.max_pool2d_with_indices.default: _max_pool2d,
    aten._adaptive_avg_pool2d.default: _adaptive_avg_pool2d,
    aten.addmm.default: _addmm,
    aten._native_batch_norm_legit.default: _batch_norm_train,
    aten._native_batch_norm_legit_no_training.default: _batch_norm_eval,
    aten.mean.dim: _mean,
    aten.native_dropout.default: _native_dropout,
    aten._log_softmax.default: _log_softmax,
    aten.nll_loss_forward.default: _nll_loss,
    aten.relu.default: _alike,
    aten.relu_.default: _into(_alike),
    aten.add.Tensor: _both,
    aten.add_.Tensor: _into(_both),
}
