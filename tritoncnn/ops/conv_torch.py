"""Convolution and its two gradients in plain torch, for any number of axes and padding that differs before and after."""

from __future__ import annotations

import torch

from tritoncnn.kernels.conv_problem import edges

Ints = tuple[int, ...]


def _flat(padding: Ints, axes: int, sign: int = 1) -> list[int]:
    """As torch.nn.functional.pad wants it: last axis first."""
    return [sign * size for pair in reversed(edges(padding, axes)) for size in pair]


def conv_torch(
    x: torch.Tensor, w: torch.Tensor, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> torch.Tensor:
    axes = x.dim() - 2
    wide = torch.nn.functional.pad(x, _flat(padding, axes))
    zeros = [0] * axes
    return torch.convolution(wide, w, None, stride, zeros, dilation, False, zeros, groups)


def _gradients(
    x: torch.Tensor, w: torch.Tensor, dy: torch.Tensor, stride: Ints, dilation: Ints, groups: int, which: int
) -> torch.Tensor:
    mask, zeros = [which == 0, which == 1, False], [0] * (x.dim() - 2)
    found = torch.ops.aten.convolution_backward(dy, x, w, None, stride, zeros, dilation, False, zeros, groups, mask)
    return found[which]


def conv_dgrad_torch(
    dy: torch.Tensor, w: torch.Tensor, shape: Ints, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> torch.Tensor:
    if 0 in dy.shape:  # torch refuses empty tensors here
        return dy.new_zeros(shape)
    axes = dy.dim() - 2
    wide = [n + sum(sides) for n, sides in zip(shape[2:], edges(padding, axes), strict=True)]
    dx = _gradients(dy.new_zeros((*shape[:2], *wide)), w, dy, stride, dilation, groups, 0)
    return torch.nn.functional.pad(dx, _flat(padding, axes, -1))


def conv_wgrad_torch(
    x: torch.Tensor, dy: torch.Tensor, shape: Ints, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> torch.Tensor:
    if 0 in dy.shape:  # torch refuses empty tensors here
        return x.new_zeros(shape)
    wide = torch.nn.functional.pad(x, _flat(padding, x.dim() - 2))
    return _gradients(wide, x.new_zeros(shape), dy, stride, dilation, groups, 1)
