"""Pictures in another light: brightness, contrast and saturation."""

from __future__ import annotations

import torch

from tritoncnn.augment.define import Augmentation, Batch, Draw

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


def jitter(batch: Batch, amount: float, draw: Draw) -> Batch:
    """Multiply brightness, then contrast about the mean, then saturation by factors of 1 - amount to 1 + amount.

    Values are kept in [0, 1] in the end. Pictures of other than three channels have no saturation.
    """
    mean, std = batch.channels(batch.facts.mean), batch.channels(batch.facts.std)
    factors = torch.from_numpy(1 + amount * (2 * draw(3) - 1)).float()
    bright, contrast, saturation = (factors[:, i, None, None, None] for i in range(3))
    x = (batch.x * std + mean) * bright
    grey = _luma(x)
    # NumPy's mean: torch's may add up in an order that depends on the number of threads.
    middle = torch.from_numpy(grey.numpy().mean((1, 2, 3), keepdims=True))
    x = (x - middle) * contrast + middle
    if x.shape[1] == 3:
        grey = _luma(x)
        x = (x - grey) * saturation + grey
    return batch._replace(x=(x.clamp(0, 1) - mean) / std)


def _luma(x: torch.Tensor) -> torch.Tensor:
    """f32[N,C,H,W] -> f32[N,1,H,W]"""
    if x.shape[1] != 3:
        return x[:, :1]
    red, green, blue = (weight * x[:, i : i + 1] for i, weight in enumerate(LUMA))
    return red + green + blue


colour = Augmentation(
    "colour",
    "brightness, contrast, saturation changed by up to this share",
    0.4,
    jitter,
    keeps_place=True,
    keeps_colours=False,
)
