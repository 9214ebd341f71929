"""An encoder and decoder with skips between them: Ronneberger, Fischer & Brox 2015, "U-Net".

Each level of the decoder sees what the encoder's level of its size saw, beside what comes up from below: where things are, from
the one; what they are, from the other. Without ``skips`` all has to go through the coarsest map.

Departures: the paper's convolutions have no padding, so that its output is 184 pixels smaller than its input; these are padded,
and the output is of the input's size. Batch norm, which the paper is without, stands behind each convolution. There are three
pools and 16 to 128 filters, where the paper has four, and 64 to 1024. For regression the last layer's answer is added to the
input (``residual``; Zhang et al. 2017, "Beyond a Gaussian denoiser").
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tritoncnn.models.fcn import pair

WIDTHS = (16, 32, 64, 128)  # filters of each level
STEP = 8  # sides of pictures are multiples of it


class UNet(nn.Module):
    """f32[N,channels,H,W] -> f32[N,outputs,H,W]; H and W are multiples of 8."""

    def __init__(
        self,
        outputs: int,
        channels: int = 3,
        skips: bool = True,
        residual: bool = False,
        widths: tuple[int, ...] = WIDTHS,
    ) -> None:
        super().__init__()
        self.skips, self.residual = skips, residual
        self.encoder = nn.ModuleList(
            pair(before, width) for before, width in zip((channels, *widths), widths, strict=False)
        )
        self.grow = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, 2) for width in widths[:-1])
        self.decoder = nn.ModuleList(pair(2 * width if skips else width, width) for width in widths[:-1])
        self.last = nn.Conv2d(widths[0], outputs, 1)
        if (
            residual
        ):  # begins as what changes nothing (Goyal et al. 2017): else hundreds of steps go into unlearning noise
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, seen = x, []
        for number, level in enumerate(self.encoder):
            y = level(F.max_pool2d(y, 2) if number else y)
            seen.append(y)
        for grow, level, skip in zip(reversed(self.grow), reversed(self.decoder), reversed(seen[:-1]), strict=True):
            y = grow(y)
            y = level(torch.cat([skip, y], 1) if self.skips else y)
        y = self.last(y)
        return x + y if self.residual else y
