"""Maps by which pictures are compared as wholes: what is on them (content), and what they are made of (style).

Sources: Gatys et al. 2016, "Image style transfer using convolutional neural networks" (maps of VGG; Gram matrices); Ustyuzhaninov
et al. 2016, "Texture synthesis using shallow convolutional networks with random filters": one layer of random filters of many
sizes holds as much of a texture, so that no trained net is needed.
Departures: large random filters are small ones on smaller pictures (each half the one before), and content is compared by their
maps with mean and deviation of each taken off (``standardised``), or it would hold the content's colours.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from tritoncnn.models.vgg import D, E, features_of

SIZES = (3, 5, 7)  # taps of the random filters
TINY = 1e-5  # added to variances
FLAT = 0.1  # mean square of maps of hardly anything, by which no difference is divided


class Maps(NamedTuple):
    """What a net answers to a picture: ``style`` by its Gram matrices, ``content`` value by value."""

    style: list[torch.Tensor]
    content: list[torch.Tensor]


class RandomFilters(nn.Module):
    """f32[N,3,H,W] from 0 to 1 -> Maps of ``levels`` sizes, each half the one before, by ``filters`` on each.

    A third of them has 3, 5 and 7 taps a side; three of four add up to 0, and do not see how light it is. Content is compared
    on all levels but the two largest, which would hold every pixel, and leave no room for strokes.
    """

    blur: torch.Tensor

    def __init__(self, filters: int = 64, levels: int = 5, seed: int = 0) -> None:
        super().__init__()
        self.levels, self.coarse = levels, min(2, levels - 1)
        generator = torch.Generator().manual_seed(seed)
        most = max(SIZES)
        for level in range(levels):
            bank = torch.randn(filters, 3, most, most, generator=generator)
            for number, taps in enumerate(bank):
                edge = (most - SIZES[number % len(SIZES)]) // 2
                inside = torch.zeros(most, most)
                inside[edge : most - edge, edge : most - edge] = 1
                taps *= inside
                if number % 4:  # the others see how light it is as well
                    taps -= inside * taps.sum((1, 2), keepdim=True) / inside.sum()
                taps /= taps.norm()
            self.register_buffer(f"bank{level}", bank)

        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("blur", torch.outer(line, line).expand(3, 1, 4, 4).clone())

    def _half(self, x: torch.Tensor) -> torch.Tensor:
        """Half the size, by overlapping windows: means of 2 x 2 would leave their squares in what is painted."""
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.blur, stride=2, groups=3)

    @staticmethod
    def levels_for(side: int) -> int:
        """How many levels a picture with this shorter side can have, at most 5: the last is at least 4 wide, as the reflected
        edges want."""
        return min(5, max(1, side // 4).bit_length())

    def forward(self, x: torch.Tensor) -> Maps:
        x = 4 * x - 2
        style, edge = [], max(SIZES) // 2
        for level in range(self.levels):
            x = self._half(x) if level else x
            padded = F.pad(x, (edge, edge, edge, edge), mode="reflect")
            style.append(F.relu(F.conv2d(padded, self.get_buffer(f"bank{level}"))))
        return Maps(style, [standardised(maps) for maps in style[self.coarse :]])


class VGGMaps(nn.Module):
    """f32[N,3,H,W] from 0 to 1 -> Maps of VGG-16 or VGG-19, trained on ImageNet: style relu1_1 ... relu5_1, content relu4_2."""

    features: nn.Sequential
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, deep: bool = False) -> None:
        """``deep``: the 19 layers of column E, not the 16 of column D."""
        super().__init__()
        column = E if deep else D
        features = features_of(column)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1), persistent=False)
        self.style, self.content = [], 0
        block, number = 1, 0
        for place, layer in enumerate(features):
            if isinstance(layer, nn.MaxPool2d):
                block, number = block + 1, 0
            elif isinstance(layer, nn.ReLU):
                number += 1
                if number == 1:
                    self.style.append(place)
                if (block, number) == (4, 2):
                    self.content = place
        self.features = nn.Sequential(*list(features)[: self.style[-1] + 1])
        self.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> Maps:
        x = (x - self.mean) / self.std
        found = {}
        for place, layer in enumerate(self.features):
            x = layer(x)
            found[place] = x
        return Maps([found[place] for place in self.style], [found[self.content]])


def standardised(maps: torch.Tensor) -> torch.Tensor:
    """f32[N,K,P,Q] with mean 0 and variance 1 over each map's pixels."""
    centred = maps - maps.mean((2, 3), keepdim=True)
    return centred * torch.rsqrt(centred.square().mean((2, 3), keepdim=True) + TINY)


def gram(maps: torch.Tensor) -> torch.Tensor:
    """f32[N,K,P,Q] -> f32[N,K,K]: the mean over all pixels of each product of two maps."""
    flat = maps.flatten(2)
    return torch.bmm(flat, flat.transpose(1, 2)) / flat.shape[2]


def style_loss(grams: list[torch.Tensor], wanted: list[torch.Tensor]) -> torch.Tensor:
    """Mean over the layers of |G - A|^2 / |A|^2, where A is the style's: each layer counts alike, whatever its scale."""
    pairs = [
        ((g - a).square().sum((1, 2)).mean(), a.square().sum((1, 2)).mean()) for g, a in zip(grams, wanted, strict=True)
    ]
    return torch.stack([apart / size.clamp(min=TINY) for apart, size in pairs]).mean()


def content_loss(maps: list[torch.Tensor], wanted: list[torch.Tensor]) -> torch.Tensor:
    """Mean over the layers of |F - P|^2 / |P|^2, where P is the content's; of a flat picture's maps not relative."""
    parts = [(f - p).square().mean() / p.square().mean().clamp(min=FLAT) for f, p in zip(maps, wanted, strict=True)]
    return torch.stack(parts).mean()


def total_variation(x: torch.Tensor) -> torch.Tensor:
    """Mean square of the difference between neighbours, down and to the right."""
    down = (x[:, :, 1:] - x[:, :, :-1]).square().mean()
    return down + (x[:, :, :, 1:] - x[:, :, :, :-1]).square().mean()
