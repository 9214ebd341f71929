"""Picture files -> grey values, or colours."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from tritoncnn.data.files import open_file, reason
from tritoncnn.errors import DataError
from tritoncnn.memory import in_words

Grey = NDArray[np.float32]
Read = TypeVar("Read")

MAX_PIXELS = 50_000_000
MAX_BYTES = 1_000_000_000
WHITE = 65535  # of 16 bits
WORK_SIDE = 1024  # larger pictures are first reduced to about this side: their outlines stay

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pnm",
            ".pbm")  # fmt: skip
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # no EPS: Pillow would start Ghostscript


def read_grey(path: Path) -> Grey:
    """Grey values f32[H,W] in [0, 255] of a picture file, turned upright as its EXIF tag says.

    Colour becomes luma (ITU-R 601, Pillow's "L"). Transparent parts become white, or black where what is visible is
    mostly light. Raises DataError: unreadable, not a picture, over 50 megapixels, values that are not finite.
    """
    grey = open_picture(path, _grey)
    if not np.isfinite(grey).all():
        raise DataError(f"picture {path} has values that are not finite (NaN or infinite)")
    return grey


def read_colour(path: Path, whole: bool = False, ground: str | None = None) -> Image.Image:
    """The colours of a picture file, mode RGB, turned upright as its EXIF tag says; grey gives three equal channels.

    One of twice WORK_SIDE or more along a side is reduced to about that, but for ``whole``. Transparent parts become white, or
    black where what is visible is mostly light, or as ``ground`` says. Of 16 bits white is 65535; floats get full contrast.
    Raises DataError as ``read_grey`` does.
    """
    colour = open_picture(path, partial(_colour, keep=whole, ground=ground))
    if colour is None:
        raise DataError(f"picture {path} has values that are not finite (NaN or infinite)")
    return colour


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture file in its own pixels, turned upright as its EXIF tag says. Raises DataError."""
    return open_picture(path, _upright_size)


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    turned = picture.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    return (picture.height, picture.width) if turned else picture.size


def open_picture(path: Path, decode: Callable[[Image.Image], Read]) -> Read:
    """What ``decode`` makes of the opened picture. Raises DataError."""
    with open_file(path, "picture") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise DataError(f"picture {path} has {in_words(size)}; wanted at most {in_words(MAX_BYTES)}")
        if not size:
            raise DataError(f"picture {path} cannot be read: it is empty")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's size limit is higher than ours; odd tags are no matter
                with Image.open(file, formats=_FORMATS) as picture:
                    _check_size(path, *picture.size)
                    return decode(picture)
        except DataError:
            raise
        except Image.DecompressionBombError as error:
            raise DataError(
                f"picture {path} has over {MAX_PIXELS // 10**6} megapixels; make it smaller first"
            ) from error
        except Exception as error:  # on malformed files decoders raise nearly anything: struct.error, IndexError...
            raise DataError(f"picture {path} cannot be read: {_reason(error)}") from error


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(
            f"picture {path} has {width * height / 1e6:.0f} megapixels ({width} x {height}); "
            f"wanted at most {MAX_PIXELS // 10**6}: make it smaller first"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"it is not one of {', '.join(_FORMATS)}"
    return reason(error)


def _grey(picture: Image.Image) -> Grey:
    if max(picture.size) >= 2 * WORK_SIDE:
        picture.draft("L", (WORK_SIDE, WORK_SIDE))  # a JPEG can be decoded small
    if _is_deep(picture):
        return _deep(picture) * 255
    if picture.has_transparency_data:  # reduced first: what follows takes many bytes a pixel
        return np.asarray(ImageOps.exif_transpose(flatten(_reduce(picture.convert("RGBA")))).convert("L"), np.float32)
    plain = picture.convert("RGB") if picture.mode == "LAB" else picture  # of which Pillow makes no grey
    return np.asarray(ImageOps.exif_transpose(_reduce(plain.convert("L"))), np.float32)


def _colour(picture: Image.Image, keep: bool, ground: str | None) -> Image.Image | None:
    """None where a value is not finite."""
    if max(picture.size) >= 2 * WORK_SIDE and not keep:
        picture.draft("RGB", (WORK_SIDE, WORK_SIDE))
    reduce = (lambda whole: whole) if keep else _reduce
    if _is_deep(picture):
        grey = _deep(picture, reduce) * 255
        return Image.fromarray(np.round(grey).astype(np.uint8)).convert("RGB") if np.isfinite(grey).all() else None
    if picture.has_transparency_data:
        return ImageOps.exif_transpose(flatten(reduce(picture.convert("RGBA")), ground))
    return ImageOps.exif_transpose(reduce(picture.convert("RGB")))


def _is_deep(picture: Image.Image) -> bool:
    """Has it more than 8 bits a value, which convert("L") would clip at 255?"""
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def _reduce(picture: Image.Image) -> Image.Image:
    factor = max(picture.size) // WORK_SIDE
    return picture.reduce(factor) if factor > 1 and min(picture.size) >= factor else picture


def _deep(picture: Image.Image, reduce: Callable[[Image.Image], Image.Image] = _reduce) -> Grey:
    """Values of more than 8 bits as shares of white.

    Of 16 bits that is 65535, as OpenCV has it, and as Pillow reads colours of 16 bits; a camera's 12 bits in 16 are dark. Of
    floats and of more bits nothing says what is white: they get full contrast. Not finite where a value is not.
    """
    values = np.asarray(ImageOps.exif_transpose(reduce(picture.convert("F"))), np.float32)
    if (
        picture.mode != "F" and values.min() >= 0 and values.max() <= WHITE
    ):  # Pillow's "I" is 32 bits, of 16 in older versions
        return values / np.float32(WHITE)
    return stretch(values) if np.isfinite(values).all() else values


def flatten(picture: Image.Image, ground: str | None = None) -> Image.Image:
    """Lay a transparent picture on a ``ground``; None: on white, or on black when its visible part is mostly light."""
    alpha = np.asarray(picture.getchannel("A"), np.float32)
    luma = np.asarray(picture.convert("RGB").convert("L"), np.float32)
    light = float((alpha * luma).sum()) > 127.5 * float(alpha.sum())
    below = Image.new("RGBA", picture.size, ground or ("black" if light else "white"))
    return Image.alpha_composite(below, picture).convert("RGB")


def stretch(grey: Grey) -> Grey:
    """Full contrast: the darkest pixel becomes 0, the lightest 1; a flat picture becomes zeros."""
    low, high = float(grey.min()), float(grey.max())
    if not high > low:
        return np.zeros_like(grey)
    return (grey - np.float32(low)) / np.float32(high - low)


def ring_of(grey: Grey) -> Grey:
    """The outermost pixels, in no order of note."""
    return np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])


def is_dark_on_light(grey: Grey) -> bool:
    """Whether the ground is light: the median of the outermost ring of pixels is above half of the contrast."""
    return float(np.median(ring_of(grey))) > (float(grey.min()) + float(grey.max())) / 2
