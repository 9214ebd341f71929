"""Whole colour pictures of any size: files, or by name those that come with the packages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tritoncnn.data.colour import to_array
from tritoncnn.data.define import Array
from tritoncnn.data.files import look
from tritoncnn.data.photographs import FILES, find
from tritoncnn.data.pictures import open_picture, read_colour
from tritoncnn.data.strokes import draw_strokes
from tritoncnn.errors import DataError

STROKES = "strokes"  # the style that is made
NAMES = (STROKES, *FILES)
LARGEST = 2048  # pixels along the longer side


def open_named(word: str, whole: bool = False) -> Image.Image:
    """The RGB picture of a file, or the one of NAMES where there is no such file; ``whole`` as in ``read_colour``.

    Raises DataError.
    """
    _check_there(word)
    if word in NAMES and look(Path(word)) == "none":
        return draw_strokes() if word == STROKES else read_colour(find(word))
    return read_colour(Path(word), whole)


def _check_there(word: str) -> None:
    if word not in NAMES and look(Path(word)) == "none":
        raise DataError(f"picture {word} does not exist; wanted a file, or one of {', '.join(NAMES)}, which come along")


def open_style(word: str, whole: bool = False) -> Image.Image:
    """A picture whose style is wanted, as ``open_named`` has it.

    Raises DataError for one with transparent pixels too: what lies behind them would be a part of the style.
    """
    _check_there(word)
    if not (word in NAMES and look(Path(word)) == "none"):
        share = open_picture(Path(word), _transparent)
        if share > 0:
            raise DataError(
                f"style picture {word} must be opaque; {share:.1%} of its pixels are transparent: lay it on a ground first"
            )
    return open_named(word, whole)


def _transparent(picture: Image.Image) -> float:
    """The share of pixels that let something of what is behind them through."""
    if not picture.has_transparency_data:
        return 0.0
    return float((np.asarray(picture.convert("RGBA").getchannel("A")) < 255).mean())


def scaled(picture: Image.Image, longer: int) -> Image.Image:
    """The same with so many pixels along the longer side."""
    factor = longer / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


def fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of a picture that has the aspect ratio of ``size`` (width, height), scaled to it."""
    return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class WholeReader:
    """A path -> f32[3,H,W] in [0, 1], the whole picture, made smaller where it has more than LARGEST pixels along a side.

    Raises DataError; also of one with a side below ``least``.
    """

    least: int = 1

    def __call__(self, path: Path) -> Array:
        picture = read_colour(path, whole=True)
        picture = scaled(picture, LARGEST) if max(picture.size) > LARGEST else picture
        if min(picture.size) < self.least:
            got = f"{picture.width} x {picture.height}"
            raise DataError(f"picture {path} must have at least {self.least} pixels along each side; it has {got}")
        return to_array(picture)
