"""Picture files -> grey values."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from tritoncnn.errors import DataError

Grey = NDArray[np.float32]

MAX_PIXELS = 50_000_000
WORK_SIDE = 1024  # larger pictures are first reduced to about this side: their outlines stay

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # no EPS: Pillow would start Ghostscript


def read_grey(path: Path) -> Grey:
    """Grey values f32[H,W] in [0, 255] of a picture file, turned upright as its EXIF tag says.

    Colour becomes luma (ITU-R 601, Pillow's "L"). Transparent parts become white, or black where what is visible is
    mostly light. Raises DataError: unreadable, not a picture, or over 50 megapixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's size limit is higher than ours; odd tags are no matter
            with Image.open(path, formats=_FORMATS) as picture:
                _check_size(path, *picture.size)
                return _grey(picture)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"picture {path} has over {MAX_PIXELS // 10**6} megapixels; make it smaller first") from error
    except FileNotFoundError as error:
        raise DataError(f"picture {path} does not exist") from error
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
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _grey(picture: Image.Image) -> Grey:
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):  # convert("L") would clip these at 255
        return stretch(np.asarray(_reduce(picture.convert("F")), np.float32)) * 255
    if picture.has_transparency_data:
        picture = _flatten(picture.convert("RGBA"))
    return np.asarray(_reduce(picture.convert("L")), np.float32)


def _flatten(picture: Image.Image) -> Image.Image:
    """Lay a transparent picture on white, or on black when its visible part is mostly light."""
    alpha = np.asarray(picture.getchannel("A"), np.float32)
    luma = np.asarray(picture.convert("RGB").convert("L"), np.float32)
    light = float((alpha * luma).sum()) > 127.5 * float(alpha.sum())
    ground = Image.new("RGBA", picture.size, "black" if light else "white")
    return Image.alpha_composite(ground, picture).convert("RGB")


def _reduce(picture: Image.Image) -> Image.Image:
    factor = max(picture.size) // WORK_SIDE
    return picture.reduce(factor) if factor > 1 and min(picture.size) >= factor else picture


def stretch(grey: Grey) -> Grey:
    """Full contrast: the darkest pixel becomes 0, the lightest 1; a flat picture becomes zeros."""
    low, high = float(grey.min()), float(grey.max())
    if not high > low:
        return np.zeros_like(grey)
    return (grey - np.float32(low)) / np.float32(high - low)
