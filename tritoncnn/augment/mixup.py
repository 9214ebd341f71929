"""Pictures laid over each other, with targets to match."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tritoncnn.augment.define import Augmentation, Batch, Draw
from tritoncnn.flags import ABOVE_0


def mix(batch: Batch, amount: float, draw: Draw) -> Batch:
    """l of each picture and 1 - l of the one before it in the batch, l from Beta(amount, amount); targets alike.

    Source: Zhang et al. 2018, "mixup: beyond empirical risk minimization".
    """
    from scipy.special import betaincinv  # comes with scikit-learn

    share = torch.from_numpy(betaincinv(amount, amount, draw(1))).float()
    y = batch.y if batch.y.dim() == 2 else F.one_hot(batch.y, len(batch.facts.classes)).float()
    wide = share[:, :, None, None]
    return batch._replace(x=batch.x * wide + batch.x.roll(1, 0) * (1 - wide), y=y * share + y.roll(1, 0) * (1 - share))


mixup = Augmentation(
    "mixup",
    "laid over another one of the batch, by a share from Beta(this, this)",
    0.2,
    mix,
    ABOVE_0,
    soft=True,
)
