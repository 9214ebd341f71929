"""Cells that touch and cover each other, as a microscope might show them: ground, inside or border? Made.

A cell is a rounded shape with a pale rim, a grainy inside and a dark nucleus; light falls unevenly, and all is blurred and noisy.
The border is the outermost pixels of each cell, also where it touches another: it parts them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.colour import check_colour
from tritoncnn.data.define import Array, Dataset, Source
from tritoncnn.data.maps import MappedPart, make_mapped

CLASSES = ("ground", "inside", "border")
PICTURES = {"train": 600, "test": 100}
CELLS = (6, 12)  # least and most of a picture
RADII = (0.1, 0.22)  # shares of the picture's side
WAVES = (2, 3, 4)  # of a cell's outline, each of up to this share of its radius:
WAVE = 0.09
NOISE = 0.05


def load_cells(size: int) -> Dataset:
    """Draw pictures of ``size`` x ``size`` with a fixed seed."""
    parts = []
    for number, count in enumerate(PICTURES.values()):
        random = np.random.RandomState(number)
        made = [_draw(size, random) for _ in range(count)]
        parts.append(MappedPart(np.stack([picture for picture, _ in made]), np.stack([mask for _, mask in made])))
    return make_mapped("cells", CLASSES, parts[0], parts[1], ("the cells are made",))


def _draw(size: int, random: np.random.RandomState) -> tuple[Array, NDArray[np.int64]]:
    """A picture f32[3,size,size] in [0, 1] and the class of each pixel i64[size,size]."""
    from scipy import ndimage

    rows, columns = np.mgrid[:size, :size] / size
    slope = random.uniform(-0.15, 0.15, 2)
    grey = 0.4 + slope[0] * (rows - 0.5) + slope[1] * (columns - 0.5)
    owner = np.zeros((size, size), np.int64)
    for number in range(1, random.randint(CELLS[0], CELLS[1] + 1) + 1):
        down, right = rows - random.rand(), columns - random.rand()
        radius = random.uniform(*RADII)
        angle = np.arctan2(down, right)
        waves = (random.uniform(-WAVE, WAVE) * np.cos(k * angle + random.uniform(0, 2 * np.pi)) for k in WAVES)
        depth = (radius * (1 + sum(waves)) - np.hypot(down, right)) * size  # pixels from the outline inwards
        inside = depth > 0
        owner[inside] = number
        grain = ndimage.gaussian_filter(random.randn(size, size), 1.5) * 0.08
        rim, nucleus = np.exp(-depth / 2), np.hypot(down - radius * 0.2, right) < 0.35 * radius
        shade = random.uniform(0.42, 0.6) + grain + random.uniform(0.05, 0.25) * rim - 0.15 * nucleus
        grey = np.where(inside, shade, grey)
    grey = ndimage.gaussian_filter(grey, 0.7) + NOISE * random.randn(size, size)
    same = ndimage.minimum_filter(owner, 3) == ndimage.maximum_filter(owner, 3)
    mask = np.where(owner == 0, 0, np.where(same, 1, 2))
    picture = np.repeat(np.clip(grey, 0, 1).astype(np.float32)[None], 3, 0)
    return picture, mask.astype(np.int64)


cells = Source(
    "cells", "touching cells with their borders", "", lambda folder, read: load_cells(check_colour("cells", read).size)
)
