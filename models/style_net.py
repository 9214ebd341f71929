"""A net that paints any picture in one style, in one pass.

Sources: Johnson et al. 2016, "Perceptual losses for real-time style transfer and super-resolution", with its supplement (the
layers); Ulyanov et al. 2016, "Instance normalization: the missing ingredient for fast stylization"; Odena et al. 2016,
"Deconvolution and checkerboard artifacts" (nearest pixels are repeated, then convolved).
Departures: fewer channels and blocks where nobody says otherwise; edges are reflected within every convolution, not once around
the picture; the result is a sigmoid, white is 1; sides that 4 does not divide are reflected up to one that it does, and cut.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

LEAST = 20  # pixels along a side


class Layer(nn.Module):
    """Reflected edges, convolution, instance norm; ``up``: pixels are repeated first."""

    def __init__(
        self, inputs: int, outputs: int, taps: int, stride: int = 1, up: bool = False, norm: bool = True
    ) -> None:
        super().__init__()
        self.up, self.edge = up, taps // 2
        self.conv = nn.Conv2d(inputs, outputs, taps, stride, bias=not norm)
        self.norm = nn.InstanceNorm2d(outputs, affine=True) if norm else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.norm(self.conv(F.pad(x, (self.edge,) * 4, mode="reflect")))


class Block(nn.Module):
    """What two layers make of a map, added to it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = Layer(channels, channels, 3), Layer(channels, channels, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.relu(self.first(x)))


class StyleNet(nn.Module):
    """f32[N,3,H,W] from 0 to 1 -> the same size, painted; H and W at least LEAST, as the reflected edges want.

    Several frames may lie behind one another, f32[N,3T,H,W]: each is painted for itself.
    """

    def __init__(self, channels: int = 16, blocks: int = 3) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [
                Layer(3, channels, 9),
                Layer(channels, 2 * channels, 3, stride=2),
                Layer(2 * channels, 4 * channels, 3, stride=2),
            ]
        )
        self.blocks = nn.Sequential(*(Block(4 * channels) for _ in range(blocks)))
        self.rise = nn.ModuleList(
            [Layer(4 * channels, 2 * channels, 3, up=True), Layer(2 * channels, channels, 3, up=True)]
        )
        self.last = Layer(channels, 3, 9, norm=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        N, channels, H, W = x.shape
        x = x.reshape(-1, 3, H, W)
        x = F.pad(x, (0, -W % 4, 0, -H % 4), mode="reflect") if H % 4 or W % 4 else x
        for layer in self.down:
            x = F.relu(layer(x))
        x = self.blocks(x)
        for layer in self.rise:
            x = F.relu(layer(x))
        return torch.sigmoid(self.last(x))[:, :, :H, :W].reshape(N, channels, H, W)
