"""Label maps of scanned digits with the pictures that they are of: those of ``mosaics.py``, the other way round.

A map says where which digit is; which photograph lies behind, and in which light, is left to whoever paints.
"""

from __future__ import annotations

import numpy as np

from tritoncnn.data.define import Dataset, Source
from tritoncnn.data.label_maps import Scenes, check_maps, make_scenes
from tritoncnn.data.mosaics import CLASSES, MADE, draw_mosaics


def load_digit_maps(size: int) -> Dataset:
    """Pictures of ``size`` x ``size`` with a fixed seed."""
    train, test = (Scenes(masks.astype(np.uint8), pictures) for pictures, masks in draw_mosaics(size))
    return make_scenes("digit-maps", CLASSES, train, test, (MADE,))


digit_maps = Source(
    "digit-maps",
    "maps of scanned digits, with the pictures in which they lie on photographs",
    "",
    lambda folder, read: load_digit_maps(check_maps("digit-maps", read).size),
)
