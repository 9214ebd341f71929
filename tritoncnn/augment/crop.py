"""Pictures moved a little, black coming in from the sides."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.augment.define import Augmentation, Batch, Draw
from tritoncnn.data import Targets

SEEN = 0.4  # share of a box's area


def move(batch: Batch, amount: float, draw: Draw) -> Batch:
    """Pad by ``amount`` of the side all around, then cut out a window of the old size at a random place.

    Boxes are cut too; one of which less than SEEN of its area is left is no longer to be found. Maps are cut alike.

    Source: He et al. 2016, section 4.2, with 4 of 32 pixels.
    """
    (H, W), u = batch.x.shape[2:], torch.from_numpy(draw(2))
    pad_h, pad_w = max(1, round(amount * H)), max(1, round(amount * W))
    down, right = pad_h - (u[:, 0] * (2 * pad_h + 1)).long(), pad_w - (u[:, 1] * (2 * pad_w + 1)).long()
    x, y = _window(batch.x, batch.black(), down, right), batch.y
    if batch.targets is Targets.BOXES:
        y = _moved(y, right / W, down / H)
    elif batch.targets.mapped:
        y = batch.map_targets(lambda y, unknown: _window(y, unknown, down, right))
    return batch._replace(x=x, y=y)


def _window(x: torch.Tensor, ground: Any, down: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """[N,C,H,W], moved by these numbers i64[N] of pixels; ``ground`` comes in from the sides."""
    N, C, H, W = x.shape
    rows, columns = torch.arange(H) - down[:, None], torch.arange(W) - right[:, None]
    there = ((rows >= 0) & (rows < H))[:, None, :, None] & ((columns >= 0) & (columns < W))[:, None, None, :]
    n, c = torch.arange(N)[:, None, None, None], torch.arange(C)[None, :, None, None]
    moved = x[n, c, rows.clamp(0, H - 1)[:, None, :, None], columns.clamp(0, W - 1)[:, None, None, :]]
    return torch.where(there, moved, torch.as_tensor(ground, dtype=x.dtype))


def _moved(y: torch.Tensor, right: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Boxes f32[N,M,5], moved by these shares f[N] of the side and cut at the picture's edges."""
    label, x0, y0, x1, y1 = y.unbind(2)
    before = (x1 - x0) * (y1 - y0)
    x0, x1 = ((x + right[:, None]).clamp(0, 1).float() for x in (x0, x1))
    y0, y1 = ((y + down[:, None]).clamp(0, 1).float() for y in (y0, y1))
    seen = (x1 - x0) * (y1 - y0) >= SEEN * before
    return torch.stack([torch.where(seen, label, -1.0), x0, y0, x1, y1], 2)


crop = Augmentation(
    "crop",
    "moved by up to this share of the side, black beside it",
    0.125,
    move,
    follows=(Targets.BOXES, Targets.MAPS, Targets.COLOURS),
)
