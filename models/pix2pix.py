"""pix2pix: a U-Net from label maps to pictures.

Source: Isola, Zhu, Zhou, Efros 2017, "Image-to-image translation with conditional adversarial networks", section 6.1.1.
Departures: as many levels as small pictures have, and fewer channels; instance norm, which batch norm is in the paper's batches
of one; on the way up maps are scaled smoothly and convolved (Odena et al. 2016, "Deconvolution and checkerboard artifacts") where
the paper has transposed convolutions, for pixels that are repeated leave a weave; edges are reflected, not zeros; results are in
[0, 1].
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tritoncnn.models.label_map import Conv, one_hot, twice

LEVELS = 4  # the innermost map has a sixteenth of the side


class Pix2Pix(nn.Module):
    """Label map f32[N,H,W] -> picture f32[N,3,H,W] in [0, 1]; sides are multiples of 2^levels, twice that or more."""

    def __init__(self, labels: int, width: int = 32, levels: int = LEVELS) -> None:
        super().__init__()
        self.labels = labels
        wide = [labels, *(width * min(8, 2**level) for level in range(levels))]
        self.down = nn.ModuleList(Conv(wide[i], wide[i + 1], 4, 2, 1) for i in range(levels))
        # Each but the first takes the result of the one below and the skip from the other side.
        self.rise = nn.ModuleList(
            Conv(wide[i + 1] * (1 if i == levels - 1 else 2), wide[i] if i else width, 3, padding=1)
            for i in reversed(range(levels))
        )
        self.down_norms = nn.ModuleList(nn.InstanceNorm2d(wide[i + 1], affine=True) for i in range(1, levels))
        self.rise_norms = nn.ModuleList(nn.InstanceNorm2d(wide[i], affine=True) for i in reversed(range(1, levels)))
        self.dropout = nn.Dropout(0.5)  # the paper's only source of chance, in the innermost levels
        self.out = Conv(width + labels, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = one_hot(x, self.labels)
        h = self.down[0](maps)
        skips = [h]
        for down, norm in zip(self.down[1:], self.down_norms, strict=True):
            h = norm(down(F.leaky_relu(h, 0.2)))
            skips.append(h)
        for number, (rise, norm) in enumerate(zip(self.rise[:-1], self.rise_norms, strict=True)):
            h = norm(rise(twice(F.relu(h))))
            if number == 0:
                h = self.dropout(h)
            h = torch.cat([h, skips[-2 - number]], 1)
        h = F.relu(self.rise[-1](twice(F.relu(h))))
        return (torch.tanh(self.out(torch.cat([h, maps], 1))) + 1) / 2
