"""Pictures turned."""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.augment.define import Augmentation, Batch, Draw
from tritoncnn.data import Targets


def turn(batch: Batch, amount: float, draw: Draw) -> Batch:
    """Turn about the middle by up to ``amount`` of a half turn to either side, black coming in at the corners.

    Each pixel is the nearest one of the old picture, of maps as of pictures, so that a class stays a class.
    """
    angles = torch.from_numpy((2 * draw(1)[:, 0] - 1) * amount * math.pi)
    H, W = batch.x.shape[2:]
    down, right = torch.meshgrid(
        torch.arange(H).double() - (H - 1) / 2, torch.arange(W).double() - (W - 1) / 2, indexing="ij"
    )
    sine, cosine = angles.sin()[:, None, None], angles.cos()[:, None, None]
    rows = (cosine * down + sine * right + (H - 1) / 2).round().long()
    columns = (cosine * right - sine * down + (W - 1) / 2).round().long()
    x, y = _taken(batch.x, batch.black(), rows, columns), batch.y
    if batch.targets.mapped:
        y = batch.map_targets(lambda y, unknown: _taken(y, unknown, rows, columns))
    return batch._replace(x=x, y=y)


def _taken(x: torch.Tensor, ground: Any, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """The pixels of [N,C,H,W] at these places i64[N,H,W]; ``ground`` where there are none."""
    N, C, H, W = x.shape
    there = ((rows >= 0) & (rows < H) & (columns >= 0) & (columns < W))[:, None]
    n, c = torch.arange(N)[:, None, None, None], torch.arange(C)[None, :, None, None]
    found = x[n, c, rows.clamp(0, H - 1)[:, None], columns.clamp(0, W - 1)[:, None]]
    return torch.where(there, found, torch.as_tensor(ground, dtype=x.dtype))


rotate = Augmentation(
    "rotate", "turned by up to this share of a half turn", 0.1, turn, follows=(Targets.MAPS, Targets.COLOURS)
)
