"""Any picture of handwriting -> what a model of digits expects: light ink on black, f32 in [0, 1], 28 x 28.

Training on folders and on the scanned digits, and ``tritoncnn infer``, all go through ``adapt``, so that a model meets
the same kind of picture everywhere. The recipe is MNIST's (LeCun, Cortes, Burges 1998): ink scaled to fit a 20 x 20
box with its aspect ratio kept, centred by its centre of mass in 28 x 28.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tritoncnn.data.define import Array, BlankError
from tritoncnn.data.light import box_blur, clean, noise_of
from tritoncnn.data.pictures import Grey, is_dark_on_light, read_grey, stretch

SIZE = 28  # side of the result
INK_BOX = 20  # the longer side of the ink in it
FLAT = 2.0**-16  # of the largest value: differences below are rounding
TINY = 12  # of a picture with a shorter side, a drawing of few pixels, neighbours differ by ink rather than by noise
KEPT = 0.55  # of the contrast is left by an average over neighbours: of scikit-learn's 8 x 8 scans 0.57 or more, of noise 0.36
INK = 0.2  # from this share of full contrast on, a pixel counts as ink


def read_ink(path: Path) -> Array:
    """Read a picture file as f32[1,28,28]. Raises BlankError where there is no ink, DataError."""
    grey = read_grey(path)
    if is_blank(grey):
        raise BlankError(f"picture {path} is blank: nothing on it stands out from its ground")
    ink = adapt(grey if grey.shape == (SIZE, SIZE) else clean(grey))
    if not ink.any():
        raise BlankError(f"picture {path} is blank: there is nothing on it but the light's slope")
    return ink[None]


def is_blank(grey: Grey) -> bool:
    """Whether all pixels are alike, up to noise: an average over neighbours leaves nothing that stands out of it."""
    calm = box_blur(grey, 1 if min(grey.shape) < 64 else 2)
    contrast = float(np.ptp(calm))
    if contrast <= FLAT * max(1.0, float(np.abs(grey).max())):
        return True
    if min(grey.shape) < TINY:
        return contrast < KEPT * float(np.ptp(grey))
    return contrast < 3 * noise_of(grey)


def adapt(grey: Grey) -> Grey:
    """Grey values f32[H,W] in any range -> f32[28,28] in [0, 1], light ink on a dark ground.

    1. contrast stretched to [0, 1]; inverted when ``is_dark_on_light``;
    2. a 28 x 28 picture stays where it is; any other is cut to its ink (values from 0.2 on), scaled so that the longer
       side is 20, stretched again, and placed with its centre of mass in the middle, as far as it fits.
    """
    dark_on_light = is_dark_on_light(grey)
    ink = stretch(grey)
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
