"""Pictures in their own pixels: for nets that take any size, of which training sees square pieces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tritoncnn.data.boxes import fitted
from tritoncnn.data.colour import ColourReader, to_array
from tritoncnn.data.define import Array, Reader
from tritoncnn.data.pictures import read_colour, upright_size
from tritoncnn.errors import DataError

STEP = 32  # sides of what the net sees are multiples of it: few shapes to compile for
MOST = 1024  # side to which larger pictures are scaled


@dataclass(frozen=True)
class PieceReader(ColourReader):
    """A path -> f32[3,H,W] in [0, 1]: the picture in its own pixels, mirrored beyond its right and lower edges.

    ``size`` is the side of the pieces that training sees. Raises DataError.
    """

    def __call__(self, path: Path) -> Array:
        size = whole_size(*upright_size(path))
        picture = read_colour(path)
        return mirrored(to_array(picture if picture.size == size else picture.resize(size, Image.Resampling.BOX)), STEP)


def whole_size(width: int, height: int) -> tuple[int, int]:
    """Width and height that a picture is looked at in."""
    return (width, height) if max(width, height) <= MOST else fitted(width, height, MOST)


def mirrored(values: Array, step: int) -> Array:
    """[...,H,W] with its sides made multiples of ``step``."""
    more = [(0, 0)] * (values.ndim - 2) + [(0, -side % step) for side in values.shape[-2:]]
    return np.pad(values, more, "symmetric")


def check_pieces(name: str, read: Reader) -> PieceReader:
    """``read`` as a reader of pictures in their own pixels. Raises DataError where the task reads its own in another way."""
    if not isinstance(read, PieceReader):
        raise DataError(
            f"data set {name!r} holds pictures in their own pixels; the task reads its pictures in another way"
        )
    return read
