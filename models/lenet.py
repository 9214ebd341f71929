"""LeNet-5, the convolutional network for handwritten digits.

Source: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition", figure 2.
Departures, all usual today: ReLU for tanh, max pooling for trainable average pooling, every map of layer C3 sees all
six maps below it, a linear output layer for the radial basis functions, 28 x 28 pictures padded by 2 in the first
convolution for 32 x 32 pictures.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class LeNet(nn.Module):
    """f32[N,1,28,28] -> logits f32[N,classes]; 61,706 parameters at 10 classes."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)  # [N,6,14,14]
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # [N,16,5,5]
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        return self.fc3(x)
