"""A fully convolutional net for segmentation: Long, Shelhamer & Darrell 2015, "Fully convolutional networks".

As in the paper, each of the last three levels of the body gives scores of its own; the coarsest are scaled up twofold by a
transposed convolution that begins as bilinear interpolation and learns, and are added to the next finer ones.

Departures: the paper's body is VGG-16 with weights learned on ImageNet, and its levels have strides 32, 16 and 8 of pictures of
500 pixels (FCN-8s). This body has four pairs of 3 x 3 filters with batch norm, and its levels have strides 8, 4 and 2, of
pictures of 64. The scores of the finest level are scaled up by a fixed bilinear interpolation in the paper as well.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = (16, 32, 64, 64)  # filters of each level, of strides 1, 2, 4, 8
STEP = 8  # sides of pictures are multiples of it


def stack(before: int, *widths: int) -> nn.Sequential:
    """3 x 3 convolutions of ``widths`` filters, each with batch norm and relu."""
    layers: list[nn.Module] = []
    for channels, width in pairwise((before, *widths)):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers)


def pair(before: int, width: int) -> nn.Sequential:
    return stack(before, width, width)


def bilinear_(weight: torch.Tensor) -> None:
    """Fill the weight f32[K,K,4,4] of a transposed convolution of stride 2 with bilinear interpolation, channel by channel."""
    ramp = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        weight.zero_()
        for channel in range(len(weight)):
            weight[channel, channel] = ramp[:, None] * ramp


class FCN(nn.Module):
    """f32[N,C,H,W] -> scores f32[N,classes,H,W]; H and W are multiples of 8."""

    def __init__(self, classes: int, channels: int = 3) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            pair(before, width) for before, width in zip((channels, *WIDTHS), WIDTHS, strict=False)
        )
        self.scores = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in WIDTHS[1:])
        self.grow = nn.ModuleList(nn.ConvTranspose2d(classes, classes, 4, 2, 1, bias=False) for _ in WIDTHS[2:])
        for layer in self.grow:
            assert isinstance(layer, nn.ConvTranspose2d)
            bilinear_(layer.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = []
        for number, level in enumerate(self.levels):
            x = level(F.max_pool2d(x, 2) if number else x)
            if number:
                scores.append(self.scores[number - 1](x))
        y = scores[-1]
        for grow, finer in zip(self.grow, reversed(scores[:-1]), strict=True):
            y = grow(y) + finer
        return F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
