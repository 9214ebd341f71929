"""Three photographs of textures that come with scikit-image: brick, grass and gravel (S. van der Walt, CC0).

They are read from the package. There is one photograph of each class, so its left half is for training and its right half
for testing: no pixel is in both.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from tritoncnn.data.define import Array, Dataset, Source, make_labelled
from tritoncnn.data.photographs import find, halves
from tritoncnn.data.pictures import read_grey
from tritoncnn.data.texture import SIZE, even

CLASSES = ("brick", "grass", "gravel")
PATCHES = {"train": 256, "test": 60}  # of each photograph
SIDES = (64, 128)  # shortest and longest side of what a training patch shows, in pixels of the photograph
SHOWN = 96  # side of what a test patch shows


def load_textures() -> Dataset:
    """Draw patches with a fixed seed: for training of any scale and mirrored or not, for testing of one scale, upright."""
    photographs = (Image.fromarray(read_grey(find(name))) for name in CLASSES)
    train, test = halves(photographs, PATCHES["train"], PATCHES["test"], _draw)
    return make_labelled("textures", CLASSES, train, test)


def _draw(half: Image.Image, random: np.random.RandomState, vary: bool) -> Array:
    side = random.randint(SIDES[0], SIDES[1] + 1) if vary else SHOWN
    left, top = random.randint(half.width - side + 1), random.randint(half.height - side + 1)
    shown = half.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    patch = np.asarray(shown, np.float32)
    return even(patch[:, ::-1] if vary and random.randint(2) else patch)


textures = Source(
    "textures", "brick, grass and gravel, photographs of scikit-image", "", lambda folder, read: load_textures()
)
