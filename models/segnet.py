"""An encoder and decoder for segmentation: Badrinarayanan, Kendall & Cipolla 2015, "SegNet".

The decoder has no filters of its own for scaling up: each value goes back to the pixel that its maximum was at in the encoder's
pool, all others are zero, and convolutions fill the gaps.

Departures: three levels, where the paper has VGG-16's thirteen convolutions in five levels, with weights learned on ImageNet.
The level of the pictures' own size has one convolution on each side, and as many filters as the next: there is only one way to
the scores, and all that tells a class goes through them. The last convolution has 1 x 1 filters.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tritoncnn.models.fcn import stack

LEVELS = ((32, 1), (32, 2), (64, 2))  # filters, and how many convolutions, of each level
STEP = 8  # sides of pictures are multiples of it


class SegNet(nn.Module):
    """f32[N,C,H,W] -> scores f32[N,classes,H,W]; H and W are multiples of 8."""

    def __init__(self, classes: int, channels: int = 3) -> None:
        super().__init__()
        first = LEVELS[0][0]
        widths = [width for width, _ in LEVELS]
        self.encoder = nn.ModuleList(
            stack(before, *[width] * count) for before, (width, count) in zip((channels, *widths), LEVELS, strict=False)
        )
        self.decoder = nn.ModuleList(
            stack(width, *[width] * (count - 1), after)
            for after, (width, count) in zip((first, *widths), LEVELS, strict=False)
        )
        self.last = nn.Conv2d(first, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = []
        for level in self.encoder:
            x, place = F.max_pool2d(level(x), 2, return_indices=True)
            places.append(place)
        for level, place in zip(reversed(self.decoder), reversed(places), strict=True):
            x = level(F.max_unpool2d(x, place, (2, 2)))
        return self.last(x)
