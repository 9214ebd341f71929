"""Stacks of filters, to see what each part of them is for: depth, non-linearity, pooling, filters instead of full layers.

Not one paper's net. Without a non-linearity, and with means as pools, a stack of any depth is a single linear map: that
depth needs one is Minsky & Papert 1969, "Perceptrons". Pools: LeCun et al. 1998, as S2 and S4 of LeNet-5.
"""

from __future__ import annotations

import torch
from torch import nn

WIDTHS = (8, 16, 32, 64)  # filters of each layer
HIDDEN = 64  # units of each full layer, where there are no filters
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "none": nn.Identity}
POOLS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d, "none": None}


class Stack(nn.Module):
    """f32[N,C,28,28] -> logits f32[N,classes]: ``depth`` times 3 x 3 filters, a non-linearity and a 2 x 2 pool (or none)."""

    def __init__(
        self, classes: int, channels: int = 1, depth: int = 3, activation: str = "relu", pool: str = "max"
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        side, before = 28, channels
        for width in WIDTHS[:depth]:
            layers += [nn.Conv2d(before, width, 3, padding=1), ACTIVATIONS[activation]()]
            before = width
            if (pooling := POOLS[pool]) is not None:
                layers.append(pooling(2))
                side //= 2
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(before * side**2, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x).flatten(1))


class Full(nn.Module):
    """The same with full layers instead of filters: every unit sees every pixel, and none knows which are neighbours."""

    def __init__(self, classes: int, channels: int = 1, depth: int = 3, activation: str = "relu") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels * 28**2
        for _ in range(depth):
            layers += [nn.Linear(before, HIDDEN), ACTIVATIONS[activation]()]
            before = HIDDEN
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(before, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x.flatten(1)))
