"""An encoder, and a decoder with shortcuts to it, for an answer at every pixel; with one channel of answers: depth.

Sources: Eigen, Puhrsch, Fergus 2014, "Depth map prediction from a single image using a multi-scale deep network", whose
answer is the logarithm of the depth; Laina et al. 2016, "Deeper depth prediction with fully convolutional residual networks",
whose encoder is a residual net and whose decoder doubles the map step by step; Ronneberger, Fischer, Brox 2015, "U-Net", for
the shortcuts. Departures: all is small; a map is doubled by repeating its pixels; the last shortcut is the picture itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from tritoncnn.models.resnet import BasicBlock, projection

WIDTHS = (16, 32, 64, 96)  # channels of the encoder's maps
LAST = 8  # channels of the map of the picture's size
MIDDLE = 1.0  # of logarithms of depths in rooms


class Encoder(nn.Module):
    """f32[N,channels,H,W] -> the picture, then maps at strides of 2, 4, 8... with ``widths`` channels."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layers = nn.ModuleList(BasicBlock(a, b, 2, projection(a, b, 2)) for a, b in pairwise(widths))
        self.channels = (channels, *widths)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = [x, F.relu(self.bn1(self.conv1(x)))]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return maps


class Decoder(nn.Module):
    """An encoder's maps -> f32[N,answers,H,W]: the smallest is doubled, joined with the next larger one, filtered, and so on."""

    def __init__(self, channels: Sequence[int], answers: int, middle: float = 0.0) -> None:
        """``channels`` of the encoder's maps, the picture's first; ``middle``: the answer that a new net tends to."""
        super().__init__()
        _, *widths = channels
        wide = [LAST, *widths]  # of the maps that come out at each size
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(wide[i + 1] + channels[i], wide[i], 3, 1, 1, bias=False), nn.BatchNorm2d(wide[i]), nn.ReLU())
            for i in reversed(range(len(widths)))
        )  # fmt: skip
        self.head = nn.Conv2d(LAST, answers, 3, 1, 1)
        assert self.head.bias is not None, "it was made with one"
        nn.init.constant_(self.head.bias, middle)

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        *larger, y = maps
        for block, x in zip(self.blocks, reversed(larger), strict=True):
            y = F.interpolate(y, size=x.shape[-2:], mode="nearest")
            y = block(torch.cat([y, x], 1))
        answers: torch.Tensor = self.head(y)
        return answers


class DepthNet(nn.Module):
    """f32[N,channels,H,W] -> f32[N,H,W]: the logarithm of the depth in metres."""

    def __init__(self, channels: int = 3, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.encoder = Encoder(channels, widths)
        self.decoder = Decoder(self.encoder.channels, 1, MIDDLE)
        init_filters(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logs: torch.Tensor = self.decoder(self.encoder(x))
        return logs[:, 0]


def init_filters(net: nn.Module) -> None:
    """Draw all filters as for ReLU (He et al. 2015)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
