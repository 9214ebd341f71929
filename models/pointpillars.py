"""PointPillars, after Lang et al. 2019, "PointPillars: Fast Encoders for Object Detection from Point Clouds".

Departures: every point takes part, where the paper draws 100 of a pillar and 12,000 pillars (Zhou et al. 2020 call that dynamic
voxelization); no anchors: each cell of the map answers for boxes whose centre is near (as CenterPoint, Yin et al. 2021, does);
heading is told as sine and cosine of twice the yaw, which do not jump, and one of two directions. ``pillars`` has two of the
paper's three blocks and a smaller map.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn

NUMBERS = 8  # of a box in a cell: dx, dy, dz, log l, log w, log h, sin and cos of twice the yaw
RARE = 0.01  # score of a cell before it has learned anything: most hold no car (Lin et al. 2017)


class Grid(NamedTuple):
    """The space that is looked at, in metres: lower <= x, y, z < upper; and the side of a pillar."""

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    pillar: float

    @property
    def size(self) -> tuple[int, int]:
        """Pillars along x and y."""
        return tuple(round((self.upper[d] - self.lower[d]) / self.pillar) for d in (0, 1))  # type: ignore[return-value]


SMALL = Grid((0.0, -19.2, -3.0), (38.4, 19.2, 1.0), 0.4)


class Found(NamedTuple):
    """What each cell of the map says: f32[B,1,X,Y] logit that a car is near; f32[B,8,X,Y] its box; f32[B,1,X,Y] logit that it is
    turned about.
    """

    score: torch.Tensor
    box: torch.Tensor
    direction: torch.Tensor


class Pillars(nn.Module):
    """Points f32[B,N,4] -> a map f32[B,C,X,Y]: linear, norm and relu of each point, the largest over each pillar's."""

    def __init__(self, grid: Grid, channels: int) -> None:
        super().__init__()
        self.grid = grid
        self.linear = nn.Linear(9, channels, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        (B, N, _), (X, Y), side = points.shape, self.grid.size, self.grid.pillar
        place_x = ((points[..., 0] - self.grid.lower[0]) / side).floor().clamp(0, X - 1)
        place_y = ((points[..., 1] - self.grid.lower[1]) / side).floor().clamp(0, Y - 1)
        pillar = (place_x * Y + place_y).long().unsqueeze(2)  # [B,N,1]
        xyz = points[..., :3]
        # The mean of each pillar's points: sums and number are put to the pillar and taken back by its points.
        four = torch.cat((xyz, torch.ones_like(xyz[..., :1])), 2)
        index = pillar.expand(B, N, 4)
        sums = four.new_zeros(B, X * Y, 4).scatter_add(1, index, four).gather(1, index)
        middle = torch.stack((place_x, place_y), 2) + 0.5
        corner = points.new_tensor(self.grid.lower[:2])
        features = torch.cat((points, xyz - sums[..., :3] / sums[..., 3:], xyz[..., :2] - (middle * side + corner)), 2)
        learned = torch.relu(self.norm(self.linear(features.reshape(B * N, 9)))).reshape(B, N, -1)
        C = learned.shape[2]
        empty = learned.new_zeros(B, X * Y, C)  # relu leaves nothing below 0, so that an empty pillar is 0
        largest = empty.scatter_reduce(1, pillar.expand(B, N, C), learned, "amax", include_self=True)
        return largest.reshape(B, X, Y, C).permute(0, 3, 1, 2)


class PointPillars(nn.Module):
    """Pillars; ``blocks`` (channels, further convolutions) that halve the map each; all brought to the first one's size."""

    def __init__(self, grid: Grid, channels: int, blocks: tuple[tuple[int, int], ...], up: int) -> None:
        super().__init__()
        self.grid = grid
        self.pillars = Pillars(grid, channels)
        self.blocks, self.ups = nn.ModuleList(), nn.ModuleList()
        before = channels
        for number, (width, more) in enumerate(blocks):
            layers = _conv(before, width, 2)
            for _ in range(more):
                layers += _conv(width, width, 1)
            self.blocks.append(nn.Sequential(*layers))
            side = 2**number
            spread = nn.ConvTranspose2d(width, up, side, side, bias=False)
            self.ups.append(nn.Sequential(spread, nn.BatchNorm2d(up), nn.ReLU()))
            before = width
        joined = up * len(blocks)
        self.score, self.box, self.direction = (nn.Conv2d(joined, n, 1) for n in (1, NUMBERS, 1))
        nn.init.constant_(self.score.bias, -math.log((1 - RARE) / RARE))  # type: ignore[arg-type]

    def forward(self, points: torch.Tensor) -> Found:
        x, seen = self.pillars(points), []
        for block, up in zip(self.blocks, self.ups, strict=True):
            x = block(x)
            seen.append(up(x))
        joined = torch.cat(seen, 1)
        return Found(self.score(joined), self.box(joined), self.direction(joined))


def _conv(before: int, after: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, 3, stride, 1, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU()]


def pillars() -> PointPillars:
    """96 x 96 pillars of 0.4 m, two scales: 0.3 million parameters."""
    return PointPillars(SMALL, 32, ((32, 2), (64, 3)), 32)
