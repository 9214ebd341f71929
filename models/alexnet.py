"""AlexNet, the network that won ImageNet's contest of 2012.

Source: Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks" (``alexnet2012``:
response norm, two groups of filters, overlapping pools), and Krizhevsky 2014, "One weird trick for parallelizing convolutional
neural networks" (``alexnet``: one group, no norm), which torchvision has and whose names its parameters have. ``alexnet32`` is
ours for 32 x 32 pictures: the layers of 2014 behind a 3 x 3 convolution of stride 2, with 1024 hidden units.
Departure: weights begin as in He et al. 2015, "Delving deep into rectifiers", equation 10, and biases at 0, in place of
deviations of 0.01 and biases of 1: the signal neither fades nor grows over eight layers, so that few steps are enough.
"""

from __future__ import annotations

import torch
from torch import nn


class AlexNet(nn.Module):
    """f32[N,channels,H,W] -> logits f32[N,classes]: features, averaged to ``pixels`` x ``pixels``, then three linear layers."""

    def __init__(self, features: nn.Sequential, pixels: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d(pixels)
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(256 * pixels**2, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, classes),
        )  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _of_2014(stem: nn.Conv2d, pool: int) -> nn.Sequential:
    """The convolutions of 2014; ``pool``: taps per side of the max pools, which have stride 2."""
    return nn.Sequential(
        stem, nn.ReLU(), nn.MaxPool2d(pool, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(pool, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(pool, 2),
    )  # fmt: skip


def alexnet(classes: int = 1000, channels: int = 3) -> AlexNet:
    """H and W at least 63."""
    return AlexNet(_of_2014(nn.Conv2d(channels, 64, 11, 4, 2), pool=3), 6, 4096, classes)


def alexnet32(classes: int = 10, channels: int = 3) -> AlexNet:
    return AlexNet(_of_2014(nn.Conv2d(channels, 64, 3, 2, 1), pool=2), 2, 1024, classes)


def alexnet2012(classes: int = 1000, channels: int = 3) -> AlexNet:
    """H and W at least 63. Norms stand behind the activation, as in section 3.3."""
    features = nn.Sequential(
        nn.Conv2d(channels, 96, 11, 4, 2), nn.ReLU(), nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    return AlexNet(features, 6, 4096, classes)
