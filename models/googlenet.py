"""GoogLeNet: inception blocks, and two more classifiers on the way that are trained along.

Source: Szegedy et al. 2015, "Going deeper with convolutions", table 1. Departures, as in torchvision, whose names the parameters
have: batch norm behind every convolution in place of response norm (Ioffe & Szegedy 2015), and 3 x 3 taps in the branch that has
5 x 5 in the paper.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


class Outputs(NamedTuple):
    """Logits f32[N,classes] of the net and, while training, of the classifiers behind blocks 4d and 4a."""

    logits: torch.Tensor
    aux_logits2: torch.Tensor
    aux_logits1: torch.Tensor


class BasicConv2d(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, channels: int, filters: int, taps: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, taps, stride, taps // 2, bias=False)
        self.bn = nn.BatchNorm2d(filters, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """f32[N,C,H,W] -> f32[N,sum of the four branches,H,W]."""

    def __init__(self, channels: int, one: int, before3: int, three: int, before5: int, five: int, pooled: int) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(channels, one, 1)
        self.branch2 = nn.Sequential(BasicConv2d(channels, before3, 1), BasicConv2d(before3, three, 3))
        self.branch3 = nn.Sequential(BasicConv2d(channels, before5, 1), BasicConv2d(before5, five, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), BasicConv2d(channels, pooled, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """f32[N,C,H,W] -> logits f32[N,classes]."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = BasicConv2d(channels, 128, 1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, classes)
        self.dropout = nn.Dropout(0.7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(F.adaptive_avg_pool2d(x, 4)).flatten(1)
        return self.fc2(self.dropout(F.relu(self.fc1(x))))


class GoogLeNet(nn.Module):
    """f32[N,channels,H,W] -> logits f32[N,classes], while training ``Outputs``; H and W at least 15."""

    training_only = ("aux1", "aux2")  # files of trained nets often lack them

    def __init__(self, classes: int = 1000, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = BasicConv2d(channels, 64, 7, 2)
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, 192, 3)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = InceptionAux(512, classes)
        self.aux2 = InceptionAux(528, classes)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(1024, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor | Outputs:
        x = F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.conv3(self.conv2(x)), 3, 2, ceil_mode=True)
        x = self.inception3b(self.inception3a(x))
        early = self.inception4a(F.max_pool2d(x, 3, 2, ceil_mode=True))
        late = self.inception4d(self.inception4c(self.inception4b(early)))
        x = F.max_pool2d(self.inception4e(late), 2, 2, ceil_mode=True)
        x = self.inception5b(self.inception5a(x))
        logits = self.fc(self.dropout(x.mean((2, 3))))
        return Outputs(logits, self.aux2(late), self.aux1(early)) if self.training else logits
