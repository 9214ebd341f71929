"""Any picture -> what a model of handwritten digits expects: white ink on black, f32 in [0, 1], 28 x 28.

Training on folders and on the scanned digits, and ``tritoncnn infer``, all go through ``adapt``, so that a model meets
the same kind of picture everywhere. The recipe is MNIST's (LeCun, Cortes, Burges 1998): ink scaled to fit a 20 x 20
box with its aspect ratio kept, centred by its centre of mass in 28 x 28.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from tritoncnn.errors import DataError

Grey = NDArray[np.float32]

SIZE = 28  # side of the result
INK_BOX = 20  # the longer side of the ink in it
INK = 0.2  # from this share of full contrast on, a pixel counts as ink
MAX_PIXELS = 50_000_000
WORK_SIDE = 1024  # larger pictures are first reduced to about this side: 28 pixels need no more

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # no EPS: Pillow would start Ghostscript


def read_picture(path: Path) -> Grey:
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
        return _stretch(np.asarray(_reduce(picture.convert("F")), np.float32)) * 255
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


def _stretch(grey: Grey) -> Grey:
    """Full contrast: the darkest pixel becomes 0, the lightest 1; a flat picture becomes zeros."""
    low, high = float(grey.min()), float(grey.max())
    if not high > low:
        return np.zeros_like(grey)
    return (grey - np.float32(low)) / np.float32(high - low)


def is_dark_on_light(grey: Grey) -> bool:
    """Whether the ground is light: the median of the outermost ring of pixels is above half of the contrast."""
    ring = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    return float(np.median(ring)) > (float(grey.min()) + float(grey.max())) / 2


def adapt(grey: Grey) -> Grey:
    """Grey values f32[H,W] in any range -> f32[28,28] in [0, 1], light ink on a dark ground.

    1. contrast stretched to [0, 1]; inverted when ``is_dark_on_light``;
    2. a 28 x 28 picture stays where it is; any other is cut to its ink (values from 0.2 on), scaled so that the longer
       side is 20, stretched again, and placed with its centre of mass in the middle, as far as it fits.
    """
    dark_on_light = is_dark_on_light(grey)
    ink = _stretch(grey)
    if dark_on_light:
        ink = 1 - ink
    return ink if ink.shape == (SIZE, SIZE) else _place(ink)


def _place(ink: Grey) -> Grey:
    result = np.zeros((SIZE, SIZE), np.float32)
    rows, columns = np.flatnonzero((ink >= INK).any(1)), np.flatnonzero((ink >= INK).any(0))
    if not len(rows):
        return result
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = INK_BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    scaled = Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR)
    ink = np.asarray(scaled, np.float32)
    ink = ink / ink.max()
    top, left = (_offset(ink.sum(1 - axis)) for axis in (0, 1))
    result[top : top + height, left : left + width] = ink
    return result


def _offset(profile: Grey) -> int:
    """Where the first of ``profile``'s pixels goes so that its centre of mass falls on the middle of 28, clipped to fit."""
    centre = float((profile * np.arange(len(profile))).sum() / profile.sum())
    return min(max(round((SIZE - 1) / 2 - centre), 0), SIZE - len(profile))
