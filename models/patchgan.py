"""PatchGAN: a discriminator that tells of each patch whether it is of a photograph, under spectral norm.

Source: Isola et al. 2017, section 3.2.2; Miyato et al. 2018, "Spectral normalization for generative adversarial networks".
Departures: a stage less than for pictures of 256 x 256; no instance norm beside the spectral norm, which holds every layer's
largest gain at 1; features are told too, for feature matching (Wang et al. 2018, section 3.2).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from tritoncnn.models.label_map import one_hot


class PatchDiscriminator(nn.Module):
    """(label map f32[N,H,W], picture f32[N,3,H,W]) -> the features of each stage, and last the scores f32[N,1,h,w]."""

    def __init__(self, labels: int, width: int = 32) -> None:
        super().__init__()
        self.labels = labels
        wide = [labels + 3, width, 2 * width, 4 * width]
        self.stages = nn.ModuleList(
            spectral_norm(nn.Conv2d(wide[i], wide[i + 1], 4, 2 if i < 2 else 1, 1)) for i in range(3)
        )
        self.score = spectral_norm(nn.Conv2d(wide[-1], 1, 4, 1, 1))

    def forward(self, x: torch.Tensor, picture: torch.Tensor) -> tuple[torch.Tensor, ...]:
        h = torch.cat([one_hot(x, self.labels), 2 * picture - 1], 1)
        found = []
        for stage in self.stages:
            h = F.leaky_relu(stage(h), 0.2)
            found.append(h)
        return (*found, self.score(h))
