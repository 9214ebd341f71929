"""Pictures with a square left out."""

from __future__ import annotations

import torch

from tritoncnn.augment.define import Augmentation, Batch, Draw


def leave_out(batch: Batch, amount: float, draw: Draw) -> Batch:
    """Set a square to the mean of all pictures: its side is ``amount`` of theirs, its middle any of their pixels.

    Source: DeVries & Taylor 2017, "Improved regularization of convolutional neural networks with cutout", with 16 of 32 pixels.
    """
    H, W = batch.x.shape[2:]
    u = torch.from_numpy(draw(2))
    side_h, side_w = max(1, round(amount * H)), max(1, round(amount * W))
    tops, lefts = (u[:, 0] * H).long() - side_h // 2, (u[:, 1] * W).long() - side_w // 2
    rows, columns = torch.arange(H) - tops[:, None], torch.arange(W) - lefts[:, None]
    inside_h, inside_w = (rows >= 0) & (rows < side_h), (columns >= 0) & (columns < side_w)
    out = inside_h[:, None, :, None] & inside_w[:, None, None, :]
    return batch._replace(x=torch.where(out, 0.0, batch.x))  # 0 is the mean: pictures are normalised


cutout = Augmentation(
    "cutout",
    "a square of this share of the side set to the mean",
    0.5,
    leave_out,
)
