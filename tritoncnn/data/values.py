"""Pictures as numbers, every pixel as it is: no reduction, no stretching. For filters, whose results are compared exactly."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tritoncnn.data.define import Array
from tritoncnn.data.files import read_file
from tritoncnn.data.pictures import MAX_BYTES, MAX_PIXELS, flatten, open_picture
from tritoncnn.errors import DataError, InputError

WRITTEN = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF",
           ".webp": "WEBP", ".ppm": "PPM"}  # fmt: skip
EXACT = ".npy"  # numbers, where pictures have 256 levels


def read_values(path: Path) -> Array:
    """Read f32[C,H,W] from a picture file, or from a .npy file of [H,W] or [H,W,C]; C is 1 or 3.

    Whole numbers of 8 and 16 bits are divided by the largest there can be, so that white is 1; floats stay as they are.
    Turned upright as the EXIF tag says; transparent parts become white, or black where what is visible is mostly light.
    Raises DataError: unreadable, not a picture, over 50 megapixels, values that are not finite.
    """
    values = _scaled(path, _numbers(path) if path.suffix.lower() == EXACT else open_picture(path, _decode))
    if not np.isfinite(values).all():
        raise DataError(f"picture {path} has values that are not finite (NaN or infinite)")
    return np.ascontiguousarray(values[None] if values.ndim == 2 else values.transpose(2, 0, 1))


def _numbers(path: Path) -> NDArray[np.generic]:
    data = read_file(path, "picture", MAX_BYTES)
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # NumPy raises nearly anything on a malformed header
        raise DataError(f"picture {path} cannot be read: it is no .npy file of numbers") from error
    if not isinstance(values, np.ndarray) or values.ndim not in (2, 3) or values.shape[2:] not in ((), (1,), (3,)):
        raise DataError(
            f"picture {path} must hold [H,W] or [H,W,C] numbers with 1 or 3 channels; "
            f"got {list(getattr(values, 'shape', []))}"
        )
    if not values.size or values.shape[0] * values.shape[1] > MAX_PIXELS:
        raise DataError(f"picture {path} must have 1 to {MAX_PIXELS} pixels; got {list(values.shape)}")
    return values


def _decode(picture: Image.Image) -> NDArray[np.generic]:
    """[H,W] or [H,W,3] in the file's own dtype."""
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        return np.asarray(upright)
    if upright.has_transparency_data:
        flat = flatten(upright.convert("RGBA"))
        return np.asarray(flat.convert("L") if upright.mode == "LA" else flat)
    return np.asarray(upright.convert("L" if upright.mode in ("1", "L") else "RGB"))


def _scaled(path: Path, values: NDArray[np.generic]) -> Array:
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what f32 cannot hold becomes infinite, and is refused
            return values.astype(np.float32)
    if values.dtype.kind == "i" and values.min() >= 0 and values.max() < 2**16:  # Pillow's mode "I": 16 bits in 32
        values = values.astype(np.uint16)
    if values.dtype.kind not in "bu" or values.dtype.itemsize > 2:
        raise DataError(f"picture {path} must hold floats, or whole numbers of 8 or 16 bits; got {values.dtype}")
    most = 1 if values.dtype.kind == "b" else np.iinfo(values.dtype).max  # type: ignore[type-var]
    return (values / np.float64(most)).astype(np.float32)


def check_suffix(path: Path, flag: str) -> None:
    """Whether a file of this name can be written. Raises InputError."""
    if path.suffix.lower() not in (*WRITTEN, EXACT):
        raise InputError(f"{flag} {path} must end in one of {', '.join((*WRITTEN, EXACT))}")


def encode_levels(levels: NDArray[np.uint8], suffix: str) -> bytes:
    """A picture file of u8[H,W] or u8[H,W,3]; ``suffix`` is one of WRITTEN."""
    file = io.BytesIO()
    Image.fromarray(levels).save(file, format=WRITTEN[suffix.lower()])
    return file.getvalue()


def encode_numbers(values: Array) -> bytes:
    """A .npy file of f32[C,H,W], as [H,W] where C is 1, else [H,W,C]: what ``read_values`` reads back equal."""
    file = io.BytesIO()
    np.save(
        file, values[0] if len(values) == 1 else np.ascontiguousarray(values.transpose(1, 2, 0)), allow_pickle=False
    )
    return file.getvalue()
