"""Texture as expectation: filters, a non-linearity, the mean over the picture, a linear layer.

Without the non-linearity the mean of a filter's answers is the filter of the mean: all that is left of a picture is its
mean value. With it, each filter counts how often and how strongly what it looks for occurs, wherever that is.
Source: Julesz 1962, "Visual pattern discrimination"; Malik & Perona 1990, "Preattentive texture discrimination with early
vision mechanisms" (filters, half-wave rectification, then averages).
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

FILTERS, TAPS = 16, 9
GAIN = (
    16.0  # of filters made by hand: means differ so much between textures that the linear layer soon tells them apart
)
SCALES = (1.0, 2.0)  # standard deviations of the filters made by hand, in pixels


class Texture(nn.Module):
    """f32[N,C,H,W] -> logits f32[N,classes]. ``activation`` relu: each filter counts on either side of 0; or none.

    ``filters``: learned, or hand-made, which are not trained.
    """

    def __init__(self, classes: int, channels: int = 1, filters: str = "learned", activation: str = "relu") -> None:
        super().__init__()
        self.bend = bend = activation == "relu"
        self.conv = nn.Conv2d(channels, FILTERS, TAPS, bias=False)
        self.fc = nn.Linear(2 * FILTERS if bend else FILTERS, classes)
        if filters == "hand-made":
            taps = made_filters()[:, None] / channels
            self.conv.weight = nn.Parameter(taps.expand(-1, channels, -1, -1).contiguous(), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        if self.bend:
            y = torch.cat([F.relu(y), F.relu(-y)], 1)
        return self.fc(y.mean((2, 3)))


def made_filters() -> torch.Tensor:
    """f32[16,9,9]: points (a Gaussian less a wider one), edges (its first derivative) and lines (its second) in four and
    three directions, each at two scales; all of sum 0 and 2-norm GAIN."""
    reach = TAPS // 2
    y, x = torch.meshgrid(*[torch.arange(-reach, reach + 1, dtype=torch.float64)] * 2, indexing="ij")
    found = []
    for sigma in SCALES:
        ground = torch.exp(-(x**2 + y**2) / (2 * sigma**2))
        wide = torch.exp(
            -(x**2 + y**2) / (2 * (1.6 * sigma) ** 2)
        )  # Marr & Hildreth 1980: near a laplacian of a Gaussian
        found.append(ground / ground.sum() - wide / wide.sum())
        for count, order in ((4, 1), (3, 2)):
            for turn in range(count):
                angle = math.pi * turn / count
                along = (x * math.cos(angle) + y * math.sin(angle)) / sigma
                found.append(along * ground if order == 1 else (along**2 - 1) * ground)
    centred = [taps - taps.mean() for taps in found]
    return torch.stack([GAIN * taps / taps.norm() for taps in centred]).float()
