"""Dilated convolutions and a pyramid of them for segmentation: Chen et al. 2017, "Rethinking atrous convolution" (DeepLab v3).

The body stops shrinking at an early stride; its last convolutions are dilated instead, so that they see as far. Behind it stand
side by side a 1 x 1 convolution, three 3 x 3 convolutions of growing dilation, and the mean of the whole map (atrous spatial
pyramid pooling); what they say together is scaled up bilinearly.

Departures: the paper's body is a ResNet of 50 or 101 layers with weights learned on ImageNet, stopped at stride 16 or 8, with
rates 6, 12 and 18 at stride 16. This one has eight convolutions, is stopped at stride 2, and its rates are 2, 4 and 6, for
pictures of 64 pixels.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tritoncnn.models.fcn import pair

RATES = (2, 4, 6)
WIDTH = 32  # filters of the body's end, and of each part of the pyramid
STEP = 2  # sides of pictures are multiples of it


def normed(before: int, width: int, side: int = 1, rate: int = 1) -> nn.Sequential:
    """A convolution of ``side`` x ``side`` filters, ``rate`` apart, with batch norm and relu."""
    padding = rate * (side // 2)
    conv = nn.Conv2d(before, width, side, padding=padding, dilation=rate, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())


class Pyramid(nn.Module):
    """f32[N,before,H,W] -> f32[N,width,H,W], told of one place by five looks at its neighbourhood."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.looks = nn.ModuleList([normed(before, width), *(normed(before, width, 3, rate) for rate in RATES)])
        self.whole = normed(before, width)
        self.project = normed(width * (len(RATES) + 2), width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = self.whole(x.mean((2, 3), keepdim=True)).expand(-1, -1, x.shape[2], x.shape[3])
        return self.project(torch.cat([*(look(x) for look in self.looks), whole], 1))


class DeepLab(nn.Module):
    """f32[N,C,H,W] -> scores f32[N,classes,H,W]; H and W are even."""

    def __init__(self, classes: int, channels: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            pair(channels, 16),
            nn.MaxPool2d(2),
            pair(16, WIDTH),
            normed(WIDTH, WIDTH, 3, 2),
            normed(WIDTH, WIDTH, 3, 4),
        )
        self.pyramid = Pyramid(WIDTH, WIDTH)
        self.last = nn.Conv2d(WIDTH, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.last(self.pyramid(self.body(x)))
        return F.interpolate(scores, scale_factor=2.0, mode="bilinear", align_corners=False)
