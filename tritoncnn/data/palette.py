"""The colours of label maps in pictures that were compressed with loss: which there are, and which one each pixel was.

Within an area of one label such a picture has the label's colour but for a few levels; at the edges it has mixtures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

Colour = tuple[int, int, int]
Values = NDArray[np.uint8]  # [H,W,3]

FEW = 16  # colours that hold most of a label map and little of a photograph,
LIKE = 2  # each with so many levels around it
LEVEL = 8  # levels by which neighbours within one area differ at most
APART = 10  # levels by which two labels' colours differ at least: of what is nearer the commonest counts
NEAR = 24  # levels, in any of the three, to which a pixel is taken to have a colour
MIXED = 0.25  # share of pixels, most of them at edges, that compression may have left with no label's colour,
STRANGE = 0.02  # and of pixels within areas
RARE = 1e-3  # share of all pixels within areas that a label has at least,
BESIDE = 0.1  # and share of the pixels of a label whose colour is NEAR its own: with fewer it is that one, with noise


def flat(values: Values) -> NDArray[np.bool_]:
    """Which pixels, [H,W], have nearly the colour of all four neighbours that they have."""
    level = values.astype(np.int16)
    same = np.ones(values.shape[:2], bool)
    for axis in (0, 1):
        near = (np.abs(np.diff(level, axis=axis)) <= LEVEL).all(2)
        rows, before = [slice(None)] * 2, [slice(None)] * 2
        rows[axis], before[axis] = slice(1, None), slice(None, -1)
        same[tuple(rows)] &= near
        same[tuple(before)] &= near
    return same


def concentration(values: Values) -> float:
    """The share of pixels that lie within an area and have one of the FEW commonest colours: large of label maps, small of
    photographs.
    """
    codes, counts = _merged(np.zeros(0, np.int64), np.zeros(0), values[flat(values)])
    colours, held = _parts(codes), 0.0
    for _ in range(FEW):
        if not counts.size:
            break
        own = (np.abs(colours - colours[counts.argmax()]) <= LIKE).all(1)
        held += counts[own].sum()
        colours, counts = colours[~own], counts[~own]
    return float(held / values[:, :, 0].size)


def find_colours(maps: Iterable[Values], most: int) -> tuple[Colour, ...] | None:
    """The colours of the areas of maps, in order; None where there are more than ``most``."""
    codes, counts = np.zeros(0, np.int64), np.zeros(0)
    for values in maps:
        codes, counts = _merged(codes, counts, values[flat(values)])
    colours = _parts(codes)
    total, found = counts.sum(), dict[Colour, float]()
    while counts.size and counts.sum() >= RARE * total:
        first = colours[counts.argmax()]
        own = (np.abs(colours - first) < APART).all(1)
        size = float(counts[own].sum())
        near = [more for other, more in found.items() if np.abs(first - other).max() <= NEAR]
        if size >= max(RARE * total, BESIDE * max(near, default=0.0)):
            r, g, b = first.tolist()
            found[r, g, b] = size
        if len(found) > most:
            return None
        colours, counts = colours[~own], counts[~own]
    return tuple(sorted(found))


def by_nearest(values: Values, colours: Sequence[Colour]) -> tuple[NDArray[np.intp], str]:
    """The place in ``colours`` of each pixel's colour, [H,W]; and what is wrong with the picture as a map in these, if anything.

    Pixels with none of them, mixtures at edges for the most part, are taken for what the nearest pixel with one has.
    """
    level = values.astype(np.int32)
    best = np.full(values.shape[:2], np.iinfo(np.int32).max, np.int32)
    found, sure = np.zeros(values.shape[:2], np.intp), np.zeros(values.shape[:2], bool)
    for place, colour in enumerate(colours):
        apart = np.abs(level - np.array(colour, np.int32))
        distance = apart.max(2) * 1024 + apart.sum(2)
        found[distance < best] = place
        best = np.minimum(best, distance)
        sure |= apart.max(2) <= NEAR
    mixed, strange = float(1 - sure.mean()), float((flat(values) & ~sure).mean())
    wrong = ""
    if mixed > MIXED:
        wrong = f"{mixed:.0%} of the pixels have none of the {len(colours)} colours"
    elif strange > STRANGE:
        wrong = f"areas with {strange:.0%} of the pixels have none of the {len(colours)} colours"
    if sure.all() or not sure.any():
        return found, wrong
    rows, columns = distance_transform_edt(~sure, return_distances=False, return_indices=True)
    return found[rows, columns], wrong


def _merged(
    codes: NDArray[np.int64], counts: NDArray[np.float64], colours: Values
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Codes of colours, and how many pixels have each, with those of ``colours`` [any,3] added."""
    more, times = np.unique(colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1]), return_counts=True)
    both, places = np.unique(np.concatenate([codes, more]), return_inverse=True)
    added = np.zeros(len(both))
    np.add.at(added, places, np.concatenate([counts, times]))
    return both, added


def _parts(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """[any] -> [any,3]"""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1)
