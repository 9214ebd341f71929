"""Residual networks.

Source: He, Zhang, Ren, Sun 2016, "Deep residual learning for image recognition": table 1 for pictures of 224 x 224, section 4.2
for pictures of 32 x 32 (``resnet20``). Departure of the former, as in torchvision, whose names the parameters have: in a
bottleneck the 3 x 3 convolution has the stride.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """f32[N,C,H,W] -> f32[N,K,H/stride,W/stride]: two 3 x 3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """f32[N,C,H,W] -> f32[N,4*width,H/stride,W/stride]: 1 x 1, 3 x 3, 1 x 1 beside a shortcut."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


Block = type[BasicBlock] | type[Bottleneck]


class Thinned(nn.Module):
    """The paper's shortcut A: every ``stride``-th pixel, channels filled up with zeros. No parameters."""

    def __init__(self, more: int, stride: int) -> None:
        super().__init__()
        self.more, self.stride = more, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))


def projection(channels: int, filters: int, stride: int) -> nn.Module:
    """The paper's shortcut B: a 1 x 1 convolution and its norm."""
    return nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))


class ResNet(nn.Module):
    """f32[N,channels,H,W] -> logits f32[N,classes]. ``counts``: blocks of each stage.

    ``small``: the net for 32 x 32 pictures, whose stem keeps the size and whose shortcuts have no parameters.
    """

    def __init__(
        self, block: Block, counts: tuple[int, ...], classes: int, channels: int = 3, small: bool = False
    ) -> None:
        super().__init__()
        width = 16 if small else 64
        self.conv1 = nn.Conv2d(channels, width, *((3, 1, 1) if small else (7, 2, 3)), bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.stages = [f"layer{number}" for number in range(1, len(counts) + 1)]
        now = width
        for number, (name, count) in enumerate(zip(self.stages, counts, strict=True)):
            stage = []
            for index in range(count):
                stride = 2 if number and not index else 1
                filters = block.expansion * width
                shortcut: nn.Module | None = None
                if stride > 1 or now != filters:
                    shortcut = Thinned(filters - now, stride) if small else projection(now, filters, stride)
                stage.append(block(now, width, stride, shortcut))
                now = filters
            setattr(self, name, nn.Sequential(*stage))
            width *= 2
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(now, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.fc(self.avgpool(x).flatten(1))


def resnet18(classes: int = 1000, channels: int = 3) -> ResNet:
    return ResNet(BasicBlock, (2, 2, 2, 2), classes, channels)


def resnet34(classes: int = 1000, channels: int = 3) -> ResNet:
    return ResNet(BasicBlock, (3, 4, 6, 3), classes, channels)


def resnet50(classes: int = 1000, channels: int = 3) -> ResNet:
    return ResNet(Bottleneck, (3, 4, 6, 3), classes, channels)


def resnet20(classes: int = 10, channels: int = 3) -> ResNet:
    """The paper's for CIFAR-10: 0.27 M parameters."""
    return ResNet(BasicBlock, (3, 3, 3), classes, channels, small=True)
