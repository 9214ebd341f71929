"""Convolution over one to three axes, transposed convolution, linear: with what follows a product fused into its store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.formulas import convolution as emit
from tritoncnn.formulas import matrix, norm
from tritoncnn.functional.activation import add_residual, apply_activation
from tritoncnn.functional.dispatch import Ints, Wide, fused, under_autocast
from tritoncnn.functional.norm import check_running, move_running
from tritoncnn.ops import OPS

__all__ = [
    "conv1d", "conv2d", "conv2d_batch_norm", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "linear",
]  # fmt: skip

Tensor = torch.Tensor
Size = int | Sequence[int]


def _after(y: Any, scale: Any, shift: Any, residual: Any, activation: str, pool: bool = False) -> Any:
    """activation(y * scale + shift + residual), then the largest of each 2 x 2 pixels."""
    ones = (1,) * (len(y.shape) - 2)
    for name, value in {"scale": scale, "shift": shift}.items():
        if value is not None and tuple(value.shape) != (y.shape[1],):
            raise ShapeError(f"conv: {name} must be [{y.shape[1]}], one number per channel; got {list(value.shape)}")
    if scale is not None:
        y = y * OPS["reshape"](scale, shape=(1, y.shape[1], *ones))
    if shift is not None:
        y = y + OPS["reshape"](shift, shape=(1, y.shape[1], *ones))
    y = apply_activation(activation, add_residual("conv", y, residual))
    if not pool:
        return y
    if len(y.shape) != 4:
        raise ShapeError(f"pool: only pictures [N, C, H, W] are pooled; got {list(y.shape)}")
    if min(y.shape[2:]) < 2:
        raise ShapeError(f"conv2d: pool needs an output of at least 2 x 2 pixels; got {list(y.shape[2:])}")
    two = (2, 2)
    return OPS["max_pool2d"](y, window=two, stride=two, padding=(0, 0), dilation=(1, 1), ceil_mode=False)[0]


def _before(axes: int, x: Any, scale: Any, shift: Any, activation: str) -> Any:
    """activation(x * scale + shift) of x [(N,) C, ...], in torch's vocabulary: what a norm before the convolution does."""
    if len(x.shape) < axes + 1:
        return x  # refused by the convolution
    C, ones = x.shape[-axes - 1], (1,) * axes
    for name, value in {"input_scale": scale, "input_shift": shift}.items():
        if value is not None and tuple(value.shape) != (C,):
            raise ShapeError(f"conv: {name} must be [{C}], one number per channel of x; got {list(value.shape)}")
    if scale is not None:
        x = x * OPS["reshape"](scale, shape=(C, *ones))
    if shift is not None:
        x = x + OPS["reshape"](shift, shape=(C, *ones))
    return apply_activation(activation, x)


@under_autocast("low")
@fused
def _conv(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints, groups: int,
          scale: Tensor | None, shift: Tensor | None, residual: Tensor | None, activation: str, pool: bool,
          input_scale: Tensor | None, input_shift: Tensor | None, input_activation: str) -> Any:  # fmt: skip
    x = _before(len(weight.shape) - 2, x, input_scale, input_shift, input_activation)
    y = emit.conv(len(weight.shape) - 2, x, weight, bias, stride, padding, dilation, groups)
    return _after(y, scale, shift, residual, activation, pool)


@under_autocast("low")
@fused
def _conv_transpose(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, output_padding: Ints,
                    groups: int, dilation: Ints, activation: str) -> Any:  # fmt: skip
    y = emit.conv_transpose(len(weight.shape) - 2, x, weight, bias, stride, padding, output_padding, groups, dilation)
    return apply_activation(activation, y)


@under_autocast("low")
@fused
def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, activation: str) -> Any:
    y = matrix.linear(x, weight, bias)
    return apply_activation(activation, add_residual("linear", y, residual))


def _convolve(axes: int, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Size, padding: Size | str, dilation: Size,
              groups: int, scale: Tensor | None, shift: Tensor | None, residual: Tensor | None, activation: str,
              before: tuple[Tensor | None, Tensor | None, str], pool: bool = False) -> Tensor:  # fmt: skip
    step, sides, spacing = _steps(f"conv{axes}d", axes, weight, stride, padding, dilation)
    return _conv(x, weight, bias, step, sides, spacing, groups, scale, shift, residual, activation, pool, *before)[0]


def _steps(
    name: str, axes: int, weight: Any, stride: Size, padding: Size | str, dilation: Size
) -> tuple[Ints, Ints, Ints]:
    """stride, padding (before and after) and dilation, axis by axis."""
    if not isinstance(weight, torch.Tensor) or weight.dim() != axes + 2:
        got = list(weight.shape) if isinstance(weight, torch.Tensor) else type(weight).__name__
        raise ShapeError(f"{name}: weight must be a tensor [K, C/groups, {emit.AXES[axes]}]; got {got}")
    step, spacing = emit.per_axis(f"{name}: stride", stride, axes), emit.per_axis(f"{name}: dilation", dilation, axes)
    return step, emit.padding_of(padding, weight.shape[2:], step, spacing), spacing


@under_autocast("low")
@fused
def _conv_batch_norm(x: Tensor, weight: Tensor, running_mean: Wide, running_var: Wide, bn_weight: Wide | None,
                     bn_bias: Wide | None, training: bool, momentum: float, eps: float, stride: Ints, padding: Ints,
                     dilation: Ints, groups: int, residual: Tensor | None, activation: str) -> Any:  # fmt: skip
    y = emit.conv(len(weight.shape) - 2, x, weight, None, stride, padding, dilation, groups)
    given = (y, bn_weight, bn_bias, running_mean, running_var)
    if training:
        y, new_mean, new_var = norm.batch_norm_train(*given, momentum, eps)
        return _after(y, None, None, residual, activation), new_mean, new_var
    return _after(norm.batch_norm_eval(*given, eps), None, None, residual, activation)


def conv2d_batch_norm(
    x: Tensor,
    weight: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    bn_weight: Tensor | None = None,
    bn_bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    residual: Tensor | None = None,
    activation: str = "none",
) -> Tensor:
    """activation(batch_norm(conv2d(x, weight), ...) + residual), sizes as of conv2d, the rest as of batch_norm.

    In training the convolution's kernel finds the statistics of its own result (f32; not depthwise), and the running ones
    are updated in place; else all is one kernel. Raises ShapeError, DTypeError, InputError.
    """
    step, sides, spacing = _steps("conv2d_batch_norm", 2, weight, stride, padding, dilation)
    check_running("conv2d_batch_norm", running_mean, running_var, "a batch norm follows", training)
    statistics = (running_mean, running_var, bn_weight, bn_bias, training, momentum, eps)
    y, *new = _conv_batch_norm(x, weight, *statistics, step, sides, spacing, groups, residual, activation)
    move_running(running_mean, running_var, new)
    return y


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str = "none",
    input_scale: Tensor | None = None,
    input_shift: Tensor | None = None,
    input_activation: str = "none",
) -> Tensor:
    """activation((conv(x) + bias) * scale + shift + residual) for x [N, C, L], weight [K, C/groups, S] -> [N, K, Q].

    ``padding``: a number, (before, after), "valid", "same" or "causal" (all before: no output sees its future). bias, scale
    and shift are [K], residual has the output's shape.
    What is convolved is input_activation(x * input_scale + input_shift), both [C] (not the padding): as x is loaded, where
    taps are 1 and x is much larger than the weight. Raises ShapeError, DTypeError, InputError.
    """
    before = (input_scale, input_shift, input_activation)
    return _convolve(1, x, weight, bias, stride, padding, dilation, groups, scale, shift, residual, activation, before)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str = "none",
    input_scale: Tensor | None = None,
    input_shift: Tensor | None = None,
    input_activation: str = "none",
    pool: bool = False,
) -> Tensor:
    """activation((conv(x) + bias) * scale + shift + residual), with ``pool`` the largest of each 2 x 2 pixels of it.

    x [N, C, H, W] (fastest channels-last), weight [K, C/groups, R, S] -> [N, K, P, Q], channels-last.
    ``padding``: one number, (H, W), (top, bottom, left, right), "valid", "same" or "causal". bias, scale and shift are [K],
    residual has the shape before pooling.
    ``input_scale``, ``input_shift``, ``input_activation``: as of conv1d. Raises ShapeError, DTypeError, InputError.
    """
    before = (input_scale, input_shift, input_activation)
    return _convolve(
        2, x, weight, bias, stride, padding, dilation, groups, scale, shift, residual, activation, before, pool
    )


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str = "none",
    input_scale: Tensor | None = None,
    input_shift: Tensor | None = None,
    input_activation: str = "none",
) -> Tensor:
    """As conv2d, for x [N, C, D, H, W] and weight [K, C/groups, T, R, S] -> [N, K, O, P, Q]."""
    before = (input_scale, input_shift, input_activation)
    return _convolve(3, x, weight, bias, stride, padding, dilation, groups, scale, shift, residual, activation, before)


def _transpose(axes: int, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Size, padding: Size, output_padding: Size,
               groups: int, dilation: Size, activation: str) -> Tensor:  # fmt: skip
    name = f"conv_transpose{axes}d"
    if not isinstance(weight, torch.Tensor) or weight.dim() != axes + 2:
        got = list(weight.shape) if isinstance(weight, torch.Tensor) else type(weight).__name__
        raise ShapeError(f"{name}: weight must be a tensor [C, K/groups, {emit.AXES[axes]}]; got {got}")
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    step, pad, more, spacing = (emit.per_axis(f"{name}: {key}", value, axes) for key, value in options.items())
    return _conv_transpose(x, weight, bias, step, pad, more, groups, spacing, activation)[0]


def conv_transpose1d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size = 0,
                     output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *,
                     activation: str = "none") -> Tensor:  # fmt: skip
    """As conv_transpose2d, for x [N, C, L] and weight [C, K/groups, S]."""
    return _transpose(1, x, weight, bias, stride, padding, output_padding, groups, dilation, activation)


def conv_transpose2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size = 0,
                     output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *,
                     activation: str = "none") -> Tensor:  # fmt: skip
    """activation(transposed convolution + bias): the input gradient of conv2d as an op, without work on zeros.

    x [N, C, H, W], weight [C, K/groups, R, S] -> [N, K, (H - 1) U - 2 PAD + DIL (R - 1) + output_padding + 1, ...].
    Raises ShapeError, DTypeError, InputError. Source: Dumoulin & Visin 2016, chapter 4.
    """
    return _transpose(2, x, weight, bias, stride, padding, output_padding, groups, dilation, activation)


def conv_transpose3d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size = 0,
                     output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *,
                     activation: str = "none") -> Tensor:  # fmt: skip
    """As conv_transpose2d, for x [N, C, D, H, W] and weight [C, K/groups, T, R, S]."""
    return _transpose(3, x, weight, bias, stride, padding, output_padding, groups, dilation, activation)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, residual: Tensor | None = None,
           activation: str = "none") -> Tensor:  # fmt: skip
    """activation(x weight^T + bias + residual) for x [..., K], weight [N, K], bias [N] -> [..., N]."""
    if not isinstance(weight, torch.Tensor) or weight.dim() != 2:
        got = list(weight.shape) if isinstance(weight, torch.Tensor) else type(weight).__name__
        raise ShapeError(f"linear: weight must be a tensor [N, K]; got {got}")
    if isinstance(x, torch.Tensor) and (x.dim() < 1 or x.shape[-1] != weight.shape[1]):
        raise ShapeError(
            f"linear: x must be [..., {weight.shape[1]}], as weight {list(weight.shape)}; got {list(x.shape)}"
        )
    return _linear(x, weight, bias, residual, activation)[0]
