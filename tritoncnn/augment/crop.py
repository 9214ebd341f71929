"""Pictures moved a little, black coming in from the sides."""

from __future__ import annotations

import torch

from tritoncnn.augment.define import Augmentation, Batch, Draw


def move(batch: Batch, amount: float, draw: Draw) -> Batch:
    """Pad by ``amount`` of the side all around, then cut out a window of the old size at a random place.

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
    return batch._replace(x=padded[n, c, rows, columns])


crop = Augmentation("crop", "moved by up to this share of the side, black beside it", 0.125, move)
