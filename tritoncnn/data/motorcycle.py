"""A real photograph with its true depth, for testing only: the left picture of the motorcycle pair that comes with scikit-image.

It is of the Middlebury 2014 stereo benchmark (Scharstein et al. 2014, "High-resolution stereo datasets with subpixel-accurate
ground truth"). Depth follows from its disparity and calibration, which scikit-image tells in
``skimage.data.stereo_motorcycle``. The package states no licence of it: it is read from the package, and not copied.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from tritoncnn.data.boxes import check_fitted
from tritoncnn.data.define import Array, Dataset, Reader, Source
from tritoncnn.data.depths import DepthPart, fit_depth, make_depths
from tritoncnn.data.files import read_file
from tritoncnn.data.photographs import place_of
from tritoncnn.data.pictures import read_colour
from tritoncnn.errors import DataError

PICTURE, DISPARITY = "skimage/data/motorcycle_left.png", "skimage/data/motorcycle_disp.npz"
FOCAL, BASELINE, APART = 994.978, 0.193001, 31.086  # pixels; metres; pixels between the two principal points
MAX_BYTES = 50_000_000


def load_motorcycle(read: Reader) -> Dataset:
    """The whole picture as the only test example, and nothing to train on. Raises DataError."""
    fit = check_fitted("motorcycle", read)
    photograph = read_colour(place_of(PICTURE))
    depth = depth_of(_disparity(place_of(DISPARITY)))
    if depth.shape != photograph.size[::-1]:
        raise DataError(f"{DISPARITY} is {list(depth.shape)}; its picture is {photograph.width} x {photograph.height}")
    both = DepthPart(fit.fit(photograph)[None], fit_depth(depth, fit.size)[None])
    data = make_depths("motorcycle", both, both, ("the photograph is for testing only: there is nothing to train on",))
    note = {**data.note, "train_pictures": 0, "train_known": 0.0}
    known, seen = float((depth > 0).mean()), depth[depth > 0]
    about = f"1 photograph for testing, with depth at {known:.0%} of its pixels, from {seen.min():.2f} to {seen.max():.2f} m"
    return replace(data, train=data.train.take(slice(0)), note=note, about=about)


def depth_of(disparity: Array) -> Array:
    """Disparities f32[H,W] in pixels, NaN or infinite where not known -> depths f32[H,W] in metres, 0 where not known."""
    known = np.isfinite(disparity) & (disparity + APART > 0)
    depth = FOCAL * BASELINE / np.where(known, disparity + APART, 1)
    return np.where(known, depth, 0).astype(np.float32)


def _disparity(path: Path) -> Array:
    try:
        with np.load(io.BytesIO(read_file(path, "", MAX_BYTES)), allow_pickle=False) as held:
            found = held[held.files[0]]
    except (ValueError, OSError, IndexError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if found.ndim != 2 or found.dtype.kind != "f":
        raise DataError(f"{path} must hold numbers [H,W]; got {found.dtype} {list(found.shape)}")
    return np.asarray(found, np.float32)


motorcycle = Source(
    "motorcycle",
    "a photograph of scikit-image with its true depth, for testing only",
    "",
    lambda folder, read: load_motorcycle(read),
)
