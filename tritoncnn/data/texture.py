"""Patches of textures: grey, and evened out so that no mean and no contrast tells one texture from another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tritoncnn.data.define import Array, BlankError
from tritoncnn.data.pictures import Grey, read_grey

SIZE = 48  # side of a patch
FLAT = 1e-3  # of the largest value there can be: a patch with a smaller deviation is blank


def even(patch: Grey) -> Array:
    """Shift and scale a patch of values f32[H,W] to mean 0 and standard deviation 1: f32[1,H,W]."""
    values = patch.astype(np.float64)
    return ((values - values.mean()) / values.std()).astype(np.float32)[None]


def read_texture(path: Path) -> Array:
    """Read the middle square of a picture file as a patch f32[1,48,48]. Raises BlankError, DataError."""
    grey = read_grey(path)
    side = min(grey.shape)
    top, left = (grey.shape[0] - side) // 2, (grey.shape[1] - side) // 2
    middle = Image.fromarray(grey).resize((SIZE, SIZE), Image.Resampling.BOX, box=(left, top, left + side, top + side))
    patch = np.asarray(middle, np.float32)
    if float(patch.std()) < 255 * FLAT:
        raise BlankError(f"picture {path} is blank: its middle square has one value")
    return even(patch)
