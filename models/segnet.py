"""An encoder and decoder for segmentation: Badrinarayanan, Kendall & Cipolla 2015, "SegNet".

The decoder has no filters of its own for scaling up: each value goes back to the pixel that its maximum was at in the encoder's
pool, all others are zero, and convolutions fill the gaps.

Departures: three levels with two convolutions each, where the paper has VGG-16's thirteen convolutions in five levels, with
weights learned on ImageNet. The last convolution has 1 x 1 filters.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tritoncnn.models.fcn import pair

WIDTHS = (16, 32, 64)  # filters of each level
STEP = 8  # sides of pictures are multiples of it


class SegNet(nn.Module):
    """f32[N,C,H,W] -> scores f32[N,classes,H,W]; H and W are multiples of 8."""

    def __init__(self, classes: int, channels: int = 3) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            pair(before, width) for before, width in zip((channels, *WIDTHS), WIDTHS, strict=False)
        )
        self.decoder = nn.ModuleList(
            pair(width, after) for width, after in zip(WIDTHS, (WIDTHS[0], *WIDTHS), strict=False)
        )
        self.last = nn.Conv2d(WIDTHS[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = []
        for level in self.encoder:
            x, place = F.max_pool2d(level(x), 2, return_indices=True)
            places.append(place)
        for level, place in zip(reversed(self.decoder), reversed(places), strict=True):
            x = level(F.max_unpool2d(x, place, (2, 2)))
        return self.last(x)
