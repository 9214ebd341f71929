"""Pictures moved a little, black coming in from the sides."""

from __future__ import annotations

import torch

from tritoncnn.augment.define import Augmentation, Batch, Draw

SEEN = 0.4  # share of a box's area


def move(batch: Batch, amount: float, draw: Draw) -> Batch:
    """Pad by ``amount`` of the side all around, then cut out a window of the old size at a random place.

    Boxes are cut too; one of which less than SEEN of its area is left is no longer to be found.

    Source: He et al. 2016, section 4.2, with 4 of 32 pixels.
    """
    (N, C, H, W), u = batch.x.shape, torch.from_numpy(draw(2))
    pad_h, pad_w = max(1, round(amount * H)), max(1, round(amount * W))
    black = (0 - batch.channels(batch.facts.mean)) / batch.channels(batch.facts.std)
    padded = black.expand(N, C, H + 2 * pad_h, W + 2 * pad_w).clone()
    padded[:, :, pad_h : pad_h + H, pad_w : pad_w + W] = batch.x
    tops, lefts = (u[:, 0] * (2 * pad_h + 1)).long(), (u[:, 1] * (2 * pad_w + 1)).long()
    rows = (tops[:, None] + torch.arange(H))[:, None, :, None]
    columns = (lefts[:, None] + torch.arange(W))[:, None, None, :]
    n, c = torch.arange(N)[:, None, None, None], torch.arange(C)[None, :, None, None]
    x = padded[n, c, rows, columns]
    return batch._replace(x=x, y=_moved(batch.y, (pad_w - lefts) / W, (pad_h - tops) / H) if batch.boxed else batch.y)


def _moved(y: torch.Tensor, right: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Boxes f32[N,M,5], moved by these shares f[N] of the side and cut at the picture's edges."""
    label, x0, y0, x1, y1 = y.unbind(2)
    before = (x1 - x0) * (y1 - y0)
    x0, x1 = ((x + right[:, None]).clamp(0, 1).float() for x in (x0, x1))
    y0, y1 = ((y + down[:, None]).clamp(0, 1).float() for y in (y0, y1))
    seen = (x1 - x0) * (y1 - y0) >= SEEN * before
    return torch.stack([torch.where(seen, label, -1.0), x0, y0, x1, y1], 2)


crop = Augmentation("crop", "moved by up to this share of the side, black beside it", 0.125, move, moves_boxes=True)
