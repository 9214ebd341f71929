"""Photographs and scans of handwriting -> what they would be in even light, without noise and without dark edges.

Each of the three looks first whether there is something to mend: a clean picture comes back as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data.pictures import Grey, is_dark_on_light, ring_of

SMALLEST = 32  # pictures with a shorter side are drawings in pixels, not photographs
SIDE = 64  # the ground is looked for in a picture reduced to this side
DEGREE = 4  # of the polynomial that is the ground
ON_GROUND, TOUCHING = 0.1, 0.05  # further from the ground than this share of the contrast; of the ring at most
UNEVEN = 0.12  # a ground that varies by less of the contrast is even
FAINT = 0.1  # of the ground, or of the contrast where ink is light: what differs by less is no ink
NOISE = 0.01  # of the contrast: a standard deviation from which on a picture is smoothed
WHOLE = 0.97  # of a line: a stroke in a tightly cut picture is shorter
EDGE = 0.08  # of the shorter side: how thick a dark edge may be

Mask = NDArray[np.bool_]


def clean(grey: Grey) -> Grey:
    """Grey values f32[H,W] -> the same in even light, perhaps smaller by its edges, perhaps inverted."""
    if min(grey.shape) < SMALLEST:
        return grey
    trimmed = trim_edges(grey)
    calm = smooth(trimmed)
    even = even_out(calm)
    if even is calm and calm is not trimmed:  # noise beyond the ground would pass for the lightest paper there is
        dark = is_dark_on_light(calm)
        return (np.minimum if dark else np.maximum)(calm, np.float32(np.median(ring_of(calm))))
    return even


def noise_of(grey: Grey) -> float:
    """The standard deviation of the noise, by the median difference of neighbours: strokes do not count."""
    return float(np.median(np.abs(np.diff(grey, axis=1)))) / (0.6745 * 2**0.5) if grey.shape[1] > 1 else 0.0


def smooth(grey: Grey) -> Grey:
    """Average each pixel with its neighbours, over a square far narrower than a stroke, where there is noise."""
    if noise_of(grey) <= NOISE * (float(grey.max()) - float(grey.min())):
        return grey
    return box_blur(grey, max(1, round(min(grey.shape) / 80)))


def box_blur(grey: Grey, reach: int) -> Grey:
    """The mean over 2 reach + 1 pixels each way; beyond the edge the outermost pixel goes on."""
    for axis in (0, 1):
        wide = np.pad(grey, [(reach + 1, reach) if a == axis else (0, 0) for a in (0, 1)], "edge")
        sums = np.cumsum(wide, axis=axis, dtype=np.float64)
        ahead, behind = (np.take(sums, range(i, i + grey.shape[axis]), axis=axis) for i in (2 * reach + 1, 0))
        grey = ((ahead - behind) / (2 * reach + 1)).astype(np.float32)
    return grey


def trim_edges(grey: Grey) -> Grey:
    """Cut off lines along the edges that are from end to end as unlike the ground as ink is: a scanner's lid, a table.

    What then lies along the edges must be ground; else the lines were the margin of a tightly cut picture, and stay.
    """
    depth = max(1, round(EDGE * min(grey.shape)))
    limit = 0.5 * (float(grey.max()) - float(grey.min()))
    ground = float(np.median(grey[depth:-depth, depth:-depth]))
    rest = grey
    for _ in range(4):  # each side in turn comes to lie on top
        odd = [bool((np.abs(line - ground) > limit).mean() > WHOLE) for line in rest[:depth]]
        rest = np.rot90(rest[max((i + 1 for i, is_odd in enumerate(odd) if is_odd), default=0) :])
    if rest.shape == grey.shape or (np.abs(ring_of(rest) - ground) > limit).mean() > TOUCHING:
        return grey
    return np.ascontiguousarray(rest)


def even_out(grey: Grey) -> Grey:
    """Divide by the ground where ink is dark, or take the ground away where it is light, if the ground is uneven.

    The result is then light ink on a dark ground, zeros where no ink is found. The ground is a polynomial in x and y,
    fitted to the outermost ring, then again and again to all that lies near it: ink does not.
    """
    contrast = float(grey.max()) - float(grey.min())
    small = np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    if _spread(small[_ring()]) < UNEVEN * contrast:
        return grey
    ground, dark = _find_ground(small, contrast)
    beside = np.abs(small - ground)[_ring()] > ON_GROUND * contrast
    if _spread(ground) < UNEVEN * contrast or beside.mean() > TOUCHING:  # even, or ink that reaches the edge
        return grey
    size = grey.shape[::-1]
    whole = np.asarray(Image.fromarray(ground).resize(size, Image.Resampling.BILINEAR), np.float32)
    if dark:
        ink = 1 - np.minimum(grey / np.maximum(whole, 0.05 * float(grey.max())), 1)
    else:
        ink = np.maximum(grey - whole, 0) / contrast
    return ink if float(box_blur(ink, 2).max()) >= FAINT else np.zeros_like(ink)


def _find_ground(small: Grey, contrast: float) -> tuple[Grey, bool]:
    """(the ground, whether ink is darker than it)"""
    values, near = small.reshape(-1), _ring().reshape(-1)
    weights: NDArray[np.floating] = np.ones(values.size, np.float32)
    for _ in range(10):  # the least sum of distances, which some ink on the ring does not draw away
        ground = _fit(values, near, 2, weights)
        rest = values - ground
        weights = 1 / np.maximum(np.abs(rest), 1e-3 * contrast)
    dark = bool((np.minimum(rest, 0) ** 2).sum() > (np.maximum(rest, 0) ** 2).sum())
    for _ in range(8):
        deviation = max(1.48 * float(np.median(np.abs(rest[near]))), 0.01 * contrast)
        near = np.abs(rest) < 2.5 * deviation
        if near.sum() < values.size // 8:
            break
        ground = _fit(values, near, DEGREE)
        rest = values - ground
    return ground.reshape(small.shape).astype(np.float32), dark


def _fit(values: Grey, near: Mask, degree: int, weights: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """The polynomial in x and y that is nearest to ``values`` where ``near`` says so, everywhere."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].reshape(2, -1)
    terms = np.stack([x**i * y**j for i in range(degree + 1) for j in range(degree + 1 - i)], -1)
    scale = np.sqrt(weights[near]) if weights is not None else np.ones(int(near.sum()))
    factors = np.linalg.lstsq(terms[near] * scale[:, None], values[near] * scale, rcond=None)[0]
    return np.asarray(terms @ factors)


def _ring() -> Mask:
    mask = np.ones((SIDE, SIDE), bool)
    mask[3:-3, 3:-3] = False
    return mask


def _spread(values: Grey) -> float:
    low, high = np.percentile(values, (5, 95))
    return float(high - low)
