"""Label maps as nets take them."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

# Edges are reflected. Zeros beyond the edge are of no label and of no colour, and would paint a rim on what is plain.
Conv = partial(nn.Conv2d, padding_mode="reflect")


def one_hot(x: torch.Tensor, labels: int) -> torch.Tensor:
    """f32[N,H,W] of numbers of labels -> f32[N,labels,H,W] of 0 and 1; all 0 where the number is that of no label."""
    return (x[:, None] == torch.arange(labels, dtype=torch.float32)[:, None, None]).float()


def twice(h: torch.Tensor) -> torch.Tensor:
    """Twice as many pixels along each side, between those that there are."""
    return F.interpolate(h, scale_factor=2.0, mode="bilinear", align_corners=False)
