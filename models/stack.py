"""Stacks of filters, to see what each part of them is for: depth, non-linearity, pooling, skips, filters instead of full layers.

Not one paper's net. Without a non-linearity, and with means as pools, a stack of any depth is a single linear map: that
depth needs one is Minsky & Papert 1969, "Perceptrons". Pools: LeCun et al. 1998, as S2 and S4 of LeNet-5. Pairs of layers with
their input added: He et al. 2016, without their batch norm, which helps the plain stack too. One layer at several sizes of
the picture: Burt & Adelson 1983, with plain 2 x 2 means instead of their blur.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = (8, 16, 32, 64)  # filters of each layer
HIDDEN = 64  # units of each full layer, where there are no filters
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "none": nn.Identity}


class Stride(nn.Module):
    """The first of each ``cell`` x ``cell`` pixels, as a convolution with a stride keeps it; a pool would look at all of them."""

    def __init__(self, cell: int) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        H, W = (side // self.cell * self.cell for side in x.shape[2:])
        return x[:, :, : H : self.cell, : W : self.cell]


POOLS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d, "stride": Stride, "none": None}


class Pair(nn.Module):
    """Two more layers of 3 x 3 filters, of the same size and width; with ``residual`` they only add to what comes in."""

    def __init__(self, width: int, activation: str, residual: bool) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.activation, self.residual = ACTIVATIONS[activation](), residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(self.activation(self.first(x)))
        return self.activation(x + y if self.residual else y)


class Stack(nn.Module):
    """f32[N,C,28,28] -> logits f32[N,classes]: ``depth`` times 3 x 3 filters, a non-linearity and a 2 x 2 pool (or none); then
    ``pairs`` of further layers.
    """

    def __init__(
        self, classes: int, channels: int = 1, depth: int = 3, activation: str = "relu", pool: str = "max",
        pairs: int = 0, residual: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        layers: list[nn.Module] = []
        side, before = 28, channels
        for width in WIDTHS[:depth]:
            layers += [nn.Conv2d(before, width, 3, padding=1), ACTIVATIONS[activation]()]
            before = width
            if (pooling := POOLS[pool]) is not None:
                layers.append(pooling(2))
                side //= 2
        layers += [Pair(before, activation, residual) for _ in range(pairs)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(before * side**2, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x).flatten(1))


class Pyramid(nn.Module):
    """The same pictures at ``depth`` sizes, each half the one before, and one layer of filters on each instead of one on another.

    Pools bring all levels to the size of the smallest one.
    """

    def __init__(
        self, classes: int, channels: int = 1, depth: int = 3, activation: str = "relu", pool: str = "max"
    ) -> None:
        super().__init__()
        self.activation, self.pool = ACTIVATIONS[activation](), POOLS[pool]
        self.layers = nn.ModuleList(nn.Conv2d(channels, width, 3, padding=1) for width in WIDTHS[:depth])
        sides = [28 >> (level if self.pool is None else depth - 1) for level in range(depth)]
        units = sum(width * side**2 for width, side in zip(WIDTHS, sides, strict=False))
        self.head = nn.Linear(units or channels * 28**2, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.layers:
            return self.head(x.flatten(1))
        found, last = [], len(self.layers) - 1
        for level, layer in enumerate(self.layers):
            y = self.activation(layer(x))
            if self.pool is not None and level < last:
                y = self.pool(2 ** (last - level))(y)
            found.append(y.flatten(1))
            x = F.avg_pool2d(x, 2) if level < last else x
        return self.head(torch.cat(found, 1))


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
