"""Average precision as COCO defines it, without classes of area; the overlaps are given, so boxes are of any kind.

Source: Lin et al. 2014, "Microsoft COCO: common objects in context", and the evaluation code that came with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

COCO_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).round(2).tolist())
COCO_RECALLS: Numbers = np.linspace(0, 1, 101)  # where precision is read off
MOST = 100  # boxes of a class and scene that count, by falling score


class Scene(NamedTuple):
    """What was found in one picture or scan, and what is there.

    overlap f64[D,G]; scores f64[D]; found i64[D], true i64[G]: the classes of both
    crowd   bool[G]: which true boxes are around any number of things; none where it is None. These need not be found; what is
            found in one of them, and is no other true box, counts neither as right nor as wrong. Of them ``overlap`` is the
            share of the found box that is inside
    """

    overlap: Numbers
    scores: Numbers
    found: NDArray[np.int64]
    true: NDArray[np.int64]
    crowd: NDArray[np.bool_] | None = None


def _least(thresholds: Sequence[float]) -> Numbers:
    """f64[T,1]; a perfect fit counts in spite of rounding."""
    return np.minimum(np.asarray(thresholds, np.float64), 1 - 1e-10)[:, None]


def match(overlap: Numbers, thresholds: Sequence[float]) -> NDArray[np.bool_]:
    """Which of the found boxes [D,G], by falling score, are right at each threshold: bool[T,D].

    Each in turn takes that true box, of those that no one has taken, which it overlaps most, where that is no less than the
    threshold; of equal overlaps the last.
    """
    D, G = overlap.shape
    least = _least(thresholds)
    right = np.zeros((len(least), D), bool)
    if not G:
        return right
    free = np.ones((len(least), G), bool)
    rows = np.arange(len(least))
    for d in range(D):
        wanted = np.where(free & (overlap[d] >= least), overlap[d], -1.0)
        best = G - 1 - wanted[:, ::-1].argmax(1)
        right[:, d] = wanted[rows, best] >= 0
        free[rows, best] &= ~right[:, d]
    return right


def average_precisions(
    scenes: Sequence[Scene],
    classes: int,
    thresholds: Sequence[float] = COCO_THRESHOLDS,
    recalls: Numbers = COCO_RECALLS,
    most: int = MOST,
) -> Numbers:
    """AP of each class at each threshold, f64[T,classes]; NaN for a class of which there is nothing in any scene.

    It is the mean of the precision at ``recalls``, where precision at a recall is the highest at that recall or beyond.
    """
    aps = np.full((len(thresholds), classes), np.nan)
    for label in range(classes):
        count, scores, right = 0, [np.zeros(0)], [np.zeros((len(thresholds), 0), bool)]
        passed = [np.zeros((len(thresholds), 0), bool)]
        for scene in scenes:
            crowd = np.zeros(len(scene.true), bool) if scene.crowd is None else scene.crowd
            there, crowds = (np.flatnonzero((scene.true == label) & (crowd == some)) for some in (False, True))
            of_class = np.flatnonzero(scene.found == label)
            order = of_class[np.argsort(-scene.scores[of_class], kind="stable")][:most]
            count += len(there)
            scores.append(scene.scores[order])
            right.append(match(scene.overlap[np.ix_(order, there)], thresholds))
            inside = scene.overlap[np.ix_(order, crowds)].max(1, initial=-1.0)
            passed.append(~right[-1] & (inside >= _least(thresholds)))
        if count:
            order = np.argsort(-np.concatenate(scores), kind="stable")
            rows = zip(np.concatenate(right, 1)[:, order], np.concatenate(passed, 1)[:, order], strict=True)
            aps[:, label] = [_area(row[~left_out], count, recalls) for row, left_out in rows]
    return aps


def _area(right: NDArray[np.bool_], count: int, recalls: Numbers) -> float:
    """Mean precision of finds in order, of which those that are ``right`` find one of ``count`` true boxes each."""
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(hits / count, recalls, side="left")
    return float(np.append(precision, 0.0)[places].mean())  # 0 for a recall that is never reached


def mean_over(aps: Numbers) -> float:
    """The mean over all that is not NaN; 0 where nothing is."""
    values = aps[~np.isnan(aps)]
    return float(values.mean()) if len(values) else 0.0
