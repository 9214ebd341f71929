"""SPADE: pictures painted over a label map that says, at every place, how features are scaled and moved.

    y = gamma(map) * (x - mean(x)) / std(x) + beta(map),  mean and std of each picture's channel, gamma and beta [C,H,W]

Source: Park, Liu, Wang, Zhu 2019, "Semantic image synthesis with spatially-adaptive normalization", sections 3.1 and A.
Departures: few channels and levels; instance norm for the paper's synchronised batch norm, and gamma about 1, as in its code; no
spectral norm in the generator; the smallest map is the input, not noise; features are scaled up smoothly (bilinear), where the
paper repeats pixels, which leaves a weave; edges are reflected, not zeros; results are in [0, 1].
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tritoncnn.models.label_map import Conv, one_hot, twice

START = 16  # the smallest map has this share of the side
HIDDEN = 24  # channels between a map and its gamma and beta


class Spade(nn.Module):
    """Normalise x f32[N,C,h,w], then scale and move it by a map f32[N,labels,H,W] of a multiple of its size."""

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)
        self.shared = Conv(labels, HIDDEN, 3, padding=1)
        self.gamma = Conv(HIDDEN, channels, 3, padding=1)
        self.beta = Conv(HIDDEN, channels, 3, padding=1)

    def forward(self, x: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        step = maps.shape[2] // x.shape[2]
        h = F.relu(self.shared(maps[:, :, ::step, ::step]))  # the nearest label
        return self.norm(x) * (1 + self.gamma(h)) + self.beta(h)


class Block(nn.Module):
    """Two convolutions, each behind a SPADE, and a way around them that has one too where the channels change."""

    def __init__(self, c_in: int, c_out: int, labels: int) -> None:
        super().__init__()
        middle = min(c_in, c_out)
        self.first, self.second = Spade(c_in, labels), Spade(middle, labels)
        self.conv1, self.conv2 = Conv(c_in, middle, 3, padding=1), Conv(middle, c_out, 3, padding=1)
        self.around = Spade(c_in, labels) if c_in != c_out else None
        self.skip = nn.Conv2d(c_in, c_out, 1, bias=False) if c_in != c_out else None

    def forward(self, x: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        h = self.conv1(F.leaky_relu(self.first(x, maps), 0.2))
        h = self.conv2(F.leaky_relu(self.second(h, maps), 0.2))
        if self.around is not None and self.skip is not None:
            x = self.skip(self.around(x, maps))
        return x + h


class SpadeGenerator(nn.Module):
    """Label map f32[N,H,W] -> picture f32[N,3,H,W] in [0, 1]; sides are multiples of 16, from 32 on."""

    def __init__(self, labels: int, width: int = 16) -> None:
        super().__init__()
        self.labels = labels
        wide = [4 * width, 4 * width, 2 * width, 2 * width, width]  # at 1/16, 1/8, 1/4, 1/2 and the whole side
        self.start = Conv(labels, wide[0], 3, padding=1)
        self.rise = nn.ModuleList(Block(wide[max(0, i - 1)], wide[i], labels) for i in range(len(wide)))
        self.out = Conv(width, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = one_hot(x, self.labels)
        h = self.start(maps[:, :, ::START, ::START])
        for number, block in enumerate(self.rise):
            h = block(twice(h) if number else h, maps)
        return (torch.tanh(self.out(F.leaky_relu(h, 0.2))) + 1) / 2
