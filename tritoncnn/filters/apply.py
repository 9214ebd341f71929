"""Filters on pictures: one plan of our kernels for all levels of a pyramid."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tritoncnn.data.define import Array
from tritoncnn.errors import InputError
from tritoncnn.filters.taps import Filter, Taps, size_in_words
from tritoncnn.frozen import compile_kept

# What lies beyond the edge of a picture a b c d: each by its name in numpy.pad, which counts rows and columns.
BORDERS = {"symmetric": "symmetric", "mirror": "reflect", "replicate": "edge", "wrap": "wrap", "zeros": "", "none": ""}

# Burt & Adelson 1983, "The Laplacian pyramid as a compact image code", a = 0.375: the binomial weights 1 4 6 4 1
_BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
LEAST = 2  # pixels along the shorter side of the last level of a pyramid


class Filtering(nn.Module):
    """f32[N,1,H,W] -> f32[N,K,P,Q] by K filters of one size; ``step`` is 2 where every second pixel is left out."""

    rows: torch.Tensor
    columns: torch.Tensor
    weight: torch.Tensor

    def __init__(self, taps: tuple[Taps, ...], border: str, height: int, width: int, step: int = 1) -> None:
        super().__init__()
        self.border, self.step = border, step
        self.reach = tuple(side // 2 for side in taps[0].shape)
        self.register_buffer("weight", torch.tensor(np.stack(taps), dtype=torch.float32)[:, None])
        if BORDERS[border]:
            rows, columns = (
                torch.from_numpy(np.pad(np.arange(side), reach, BORDERS[border]))  # type: ignore[call-overload]
                for side, reach in zip((height, width), self.reach, strict=True)
            )
            self.register_buffer("rows", rows)
            self.register_buffer("columns", columns)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if BORDERS[self.border]:
            x = x[:, :, self.rows][:, :, :, self.columns]
        padding = self.reach if self.border == "zeros" else 0
        return F.conv2d(x, self.weight, stride=self.step, padding=padding)


class Pyramid(nn.Module):
    """f32[C,1,H,W] -> the filtered picture f32[C,1,P,Q] of each level. Each channel is a picture of its own.

    A level is the one before, blurred, of which every second row and column is kept.
    """

    def __init__(self, filter: Filter, border: str, levels: int, height: int, width: int) -> None:
        super().__init__()
        self.filters, self.blurs = nn.ModuleList(), nn.ModuleList()
        blur_border = "symmetric" if border == "none" else border  # a level is half of the one before, not less
        for level in range(levels):
            self.filters.append(Filtering(filter.taps, border, height, width))
            if level + 1 < levels:
                self.blurs.append(Filtering((_BINOMIAL,), blur_border, height, width, step=2))
                height, width = (height + 1) // 2, (width + 1) // 2

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        results = []
        for level, filtering in enumerate(self.filters):
            if level:
                x = self.blurs[level - 1](x)
            y = filtering(x)
            results.append(y if y.shape[1] == 1 else y.square().sum(1, keepdim=True).sqrt())
        return tuple(results)


def apply_filter(picture: Array, filter: Filter, border: str = "symmetric", levels: int = 1) -> tuple[Array, ...]:
    """Filter a picture f32[C,H,W], each channel alike: the result f32[C,P,Q] of each level of its pyramid, the whole picture
    first. The plan is kept on disk for the next picture of this size. Raises InputError.

    Computed in f32: a result differs from that of real numbers by at most 1e-6 of the filter's gain times the largest value.
    """
    if border not in BORDERS:
        raise InputError(f"--border must be one of {', '.join(BORDERS)}; got {border!r}")
    _check_levels(picture.shape[1:], filter, border, levels)
    x = torch.from_numpy(np.ascontiguousarray(picture, np.float32))[:, None]
    model = compile_kept(Pyramid(filter, border, levels, *picture.shape[1:]).eval(), x)
    return tuple(y[:, 0].numpy() for y in model(x))


def _check_levels(size: tuple[int, ...], filter: Filter, border: str, levels: int) -> None:
    most, shorter = 1, min(size)
    while (shorter + 1) // 2 >= LEAST and shorter > LEAST:
        most, shorter = most + 1, (shorter + 1) // 2
    if not 1 <= levels <= most:
        raise InputError(f"--pyramid must be from 1 to {most} for a picture of {size_in_words(size)}; got {levels}")
    last = [-(-side // 2 ** (levels - 1)) for side in size]
    if border == "none" and any(side < taps for side, taps in zip(last, filter.size, strict=True)):
        what = "the picture" if levels == 1 else f"level {levels - 1}, the last,"
        raise InputError(
            f"--border none leaves nothing: {what} is {size_in_words(last)}, the filter {size_in_words(filter.size)}"
        )
