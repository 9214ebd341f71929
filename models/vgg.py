"""VGG: deep stacks of 3 x 3 convolutions.

Source: Simonyan & Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", table 1, columns A, D
and E.
Departures: batch norm behind every convolution (``_bn``: Ioffe & Szegedy 2015), and pictures of any size, averaged to 7 x 7
features, as in torchvision, whose names the parameters have. ``vgg11_32`` is ours for 32 x 32 pictures: column A with batch norm,
whose last features are one pixel and go straight to the classes.
"""

from __future__ import annotations

import torch
from torch import nn

A = (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool")
D = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")
E = (64, 64, "pool", 128, 128, "pool", *(256,) * 4, "pool", *(512,) * 4, "pool", *(512,) * 4, "pool")
Column = tuple[int | str, ...]


def features_of(column: Column, channels: int = 3, norm: bool = False) -> nn.Sequential:
    """All layers up to the last map, untrained."""
    layers: list[nn.Module] = []
    for filters in column:
        if isinstance(filters, str):
            layers.append(nn.MaxPool2d(2))
            continue
        layers.append(nn.Conv2d(channels, filters, 3, padding=1))
        layers += [nn.BatchNorm2d(filters)] if norm else []
        layers.append(nn.ReLU())
        channels = filters
    return nn.Sequential(*layers)


class VGG(nn.Module):
    """f32[N,channels,H,W] -> logits f32[N,classes]; H and W at least 32. ``small``: no hidden linear layers."""

    def __init__(
        self, column: Column, classes: int, channels: int = 3, norm: bool = False, small: bool = False
    ) -> None:
        super().__init__()
        self.features = features_of(column, channels, norm)
        last = next(filters for filters in reversed(column) if isinstance(filters, int))
        self.avgpool = nn.AdaptiveAvgPool2d(1 if small else 7)
        self.classifier = nn.Sequential(nn.Linear(last, classes)) if small else nn.Sequential(
            nn.Linear(last * 49, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(),
            nn.Linear(4096, classes),
        )  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def vgg11(classes: int = 1000, channels: int = 3) -> VGG:
    return VGG(A, classes, channels)


def vgg16(classes: int = 1000, channels: int = 3) -> VGG:
    return VGG(D, classes, channels)


def vgg11_bn(classes: int = 1000, channels: int = 3) -> VGG:
    return VGG(A, classes, channels, norm=True)


def vgg16_bn(classes: int = 1000, channels: int = 3) -> VGG:
    return VGG(D, classes, channels, norm=True)


def vgg11_32(classes: int = 10, channels: int = 3) -> VGG:
    return VGG(A, classes, channels, norm=True, small=True)
