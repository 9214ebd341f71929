"""Overlaps of upright boxes (x0, y0, x1, y1), in f64: intersection over union, and how much of one is in another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def areas(boxes: Numbers) -> Numbers:
    """[..., 4] -> [...]; a box whose sides are the wrong way round has none."""
    width, height = (np.maximum(boxes[..., i + 2] - boxes[..., i], 0) for i in range(2))
    return width * height


def overlaps(a: Numbers, b: Numbers) -> Numbers:
    """Each box of [A,4] with each of [B,4]: [A,B] from 0 to 1; 0 where both boxes are empty."""
    a, b = np.asarray(a, np.float64).reshape(-1, 4), np.asarray(b, np.float64).reshape(-1, 4)
    common = _common(a, b)
    return _share(common, areas(a)[:, None] + areas(b)[None] - common)


def shares_inside(a: Numbers, b: Numbers) -> Numbers:
    """How much of each box of [A,4] is in each of [B,4]: [A,B] from 0 to 1; 0 where the first is empty."""
    a, b = np.asarray(a, np.float64).reshape(-1, 4), np.asarray(b, np.float64).reshape(-1, 4)
    return _share(_common(a, b), areas(a)[:, None])


def _common(a: Numbers, b: Numbers) -> Numbers:
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    return areas(np.concatenate([low, high], 2))


def _share(part: Numbers, whole: Numbers) -> Numbers:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
