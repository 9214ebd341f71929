"""Small nets and a batch that the cases share, so that they share kernels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

N, CLASSES = 8, 4


class Net(nn.Module):
    """A convolution, perhaps a batch norm, a mean over pixels, a linear layer; always with the same parameters."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=not norm)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(F.relu(self.norm(self.conv(x))).mean((2, 3)))
        return y


class Around(nn.Module):
    """``function(net, *inputs)`` as a module."""

    def __init__(self, function: Any, **nets: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, net in nets.items():
            self.add_module(name, net)

    def forward(self, *inputs: Any) -> Any:
        return self.function(self, *inputs)


def pictures(seed: int = 0) -> torch.Tensor:
    return torch.randn(N, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def labels() -> torch.Tensor:
    return torch.randint(0, CLASSES, (N,), generator=torch.Generator().manual_seed(1))


def steps(step: Any, *batch: Any, count: int = 3) -> torch.Tensor:
    """The losses of some steps on one batch."""
    return torch.stack([step(*batch).detach().clone() for _ in range(count)])
