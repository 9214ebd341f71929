"""Pictures mirrored."""

from __future__ import annotations

import torch

from tritoncnn.augment.define import Augmentation, Batch, Draw
from tritoncnn.data import Targets


def mirror(batch: Batch, amount: float, draw: Draw) -> Batch:
    """Turn left and right round in this share of the pictures."""
    turned = torch.from_numpy(draw(1) < amount)[:, :, None, None]
    x = torch.where(turned, batch.x.flip(-1), batch.x)
    if batch.targets.mapped:
        y = batch.map_targets(lambda y, unknown: torch.where(turned, y.flip(-1), y))
        return batch._replace(x=x, y=y)
    if batch.targets is not Targets.BOXES:
        return batch._replace(x=x)
    label, x0, y0, x1, y1 = batch.y.unbind(2)
    return batch._replace(x=x, y=torch.where(turned[:, 0], torch.stack([label, 1 - x1, y0, 1 - x0, y1], 2), batch.y))


flip = Augmentation(
    "flip",
    "this share of them mirrored, left for right",
    0.5,
    mirror,
    follows=(Targets.BOXES, Targets.MAPS, Targets.COLOURS),
)
