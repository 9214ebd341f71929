"""Pictures mirrored."""

from __future__ import annotations

import torch

from tritoncnn.augment.define import Augmentation, Batch, Draw


def mirror(batch: Batch, amount: float, draw: Draw) -> Batch:
    """Turn left and right round in this share of the pictures."""
    turned = torch.from_numpy(draw(1) < amount)[:, :, None, None]
    return batch._replace(x=torch.where(turned, batch.x.flip(-1), batch.x))


flip = Augmentation("flip", "this share of them mirrored, left for right", 0.5, mirror)
