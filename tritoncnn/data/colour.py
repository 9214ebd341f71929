"""Any picture -> what a model of photographs expects: the middle square, in colour, f32 in [0, 1], scaled to one size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tritoncnn.data.define import Array, BlankError, Facts, Reader
from tritoncnn.data.pictures import read_colour
from tritoncnn.errors import DataError

FLAT = 1.5 / 255  # a square whose levels differ by one at most has one colour: so much a file's compression may add


@dataclass(frozen=True)
class ColourReader:
    """A path -> f32[3,size,size] in [0, 1]. Raises DataError; BlankError where all that is seen has one colour.

    Training on files, on photographs and on CIFAR, and ``tritoncnn infer``, all go through ``fit``.
    """

    size: int = 32

    def __call__(self, path: Path) -> Array:
        seen = self.fit(read_colour(path))
        if float(np.ptp(seen, axis=(1, 2)).max()) < FLAT:
            raise BlankError(f"picture {path} is blank: its middle square has one colour")
        return seen

    def of(self, facts: Facts) -> ColourReader:
        """The reader for a model that was trained on data of these facts."""
        return self

    def fit(self, picture: Image.Image) -> Array:
        """The middle square of an RGB picture, scaled: averaged where it shrinks, interpolated where it grows."""
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        how = Image.Resampling.BOX if side > self.size else Image.Resampling.BILINEAR
        box = (left, top, left + side, top + side)
        return to_array(picture.resize((self.size, self.size), how, box=box))


def to_array(picture: Image.Image) -> Array:
    """An RGB picture as f32[3,H,W] in [0, 1]."""
    values = np.asarray(picture, np.float32).transpose(2, 0, 1)
    return np.ascontiguousarray(values) / np.float32(255)


def check_colour(name: str, read: Reader) -> ColourReader:
    """``read`` as a reader of colour pictures, for data set ``name``. Raises DataError where the task wants others."""
    if not isinstance(read, ColourReader):
        raise DataError(f"data set {name!r} holds colour pictures; the task reads its pictures in another way")
    return read
