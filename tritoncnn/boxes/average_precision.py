"""Average precision as COCO defines it; the overlaps are given, so boxes are of any kind.

Source: Lin et al. 2014, "Microsoft COCO: common objects in context", and the evaluation code that came with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

COCO_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).round(2).tolist())
COCO_RECALLS: Numbers = np.linspace(0, 1, 101)  # where precision is read off
SIZES: Mapping[str, tuple[float, float]] = {  # area in pixels, both ends included
    "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10),
}  # fmt: skip
MOST = 100  # boxes of a class and scene that count, by falling score


class Scene(NamedTuple):
    """What was found in one picture or scan, and what is there.

    overlap f64[D,G]; scores f64[D]; found i64[D], true i64[G]: the classes of both
    crowd   bool[G]: which true boxes need not be found, and may be by any number: what overlaps one of them, and is no other
            true box, counts neither as right nor as wrong; none where it is None. Of a box around a crowd ``overlap`` is the
            share of the found box that is inside, of what is hard to see it is that of all others
    aside   bool[G]: which true boxes need not be found, and may be once; none where it is None
    areas   of the found boxes f64[D] and of what is there f64[G], where only some sizes are asked for
    """

    overlap: Numbers
    scores: Numbers
    found: NDArray[np.int64]
    true: NDArray[np.int64]
    crowd: NDArray[np.bool_] | None = None
    areas: tuple[Numbers, Numbers] | None = None
    aside: NDArray[np.bool_] | None = None

    def crowds(self) -> NDArray[np.bool_]:
        """bool[G]"""
        return np.zeros(len(self.true), bool) if self.crowd is None else self.crowd

    def beyond(self, size: tuple[float, float] | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which of the found, and of the true boxes are smaller or larger than ``size`` says, and of the true ones those that are
        aside in any case: bool[D], bool[G]."""
        aside = np.zeros(len(self.true), bool) if self.aside is None else self.aside
        if size is None:
            return np.zeros(len(self.found), bool), aside
        assert self.areas is not None, "sizes are asked for"
        found, true = ((areas < size[0]) | (areas > size[1]) for areas in self.areas)
        return found, true | aside


class Matched(NamedTuple):
    """Of found boxes by falling score, at each threshold, bool[T,D]: what is right, and what counts neither way."""

    right: NDArray[np.bool_]
    passed: NDArray[np.bool_]


def match(
    overlap: Numbers,
    thresholds: Sequence[float],
    crowd: NDArray[np.bool_] | None = None,
    aside: NDArray[np.bool_] | None = None,
) -> Matched:
    """Match found boxes [D,G], which come by falling score, with true ones.

    Each in turn takes that true box, of those that no one has taken, which it overlaps most, where that is no less than the
    threshold; of equal overlaps the last. True boxes that are ``aside`` bool[G], as all of a ``crowd`` are, come after all
    others, and what takes one of them counts neither way; a crowd may be taken by any number.
    """
    D, G = overlap.shape
    least = np.minimum(np.asarray(thresholds, np.float64), 1 - 1e-10)  # a perfect fit counts in spite of rounding
    least = least[:, None]
    found = Matched(*np.zeros((2, len(least), D), bool))
    if not G:
        return found
    crowd = np.zeros(G, bool) if crowd is None else crowd
    aside = crowd if aside is None else aside | crowd
    free = np.ones((len(least), G), bool)
    rows = np.arange(len(least))
    for d in range(D):
        near = free & (overlap[d] >= least)
        real = near & ~aside
        wanted = np.where(np.where(real.any(1)[:, None], real, near), overlap[d], -1.0)
        best = G - 1 - wanted[:, ::-1].argmax(1)
        taken = wanted[rows, best] >= 0
        found.right[:, d], found.passed[:, d] = taken & ~aside[best], taken & aside[best]
        free[rows, best] &= ~taken | crowd[best]
    return found


def average_precisions(
    scenes: Sequence[Scene],
    classes: int,
    thresholds: Sequence[float] = COCO_THRESHOLDS,
    recalls: Numbers = COCO_RECALLS,
    most: int = MOST,
    size: tuple[float, float] | None = None,
) -> Numbers:
    """AP of each class at each threshold, f64[T,classes]; NaN for a class of which there is nothing in any scene.

    It is the mean of the precision at ``recalls``, where precision at a recall is the highest at that recall or beyond. With a
    ``size``, one of ``SIZES`` say, that of things of such areas: what is of another size and finds none of them is no mistake.
    """
    aps = np.full((len(thresholds), classes), np.nan)
    beyond = [scene.beyond(size) for scene in scenes]
    with_label: list[list[int]] = [[] for _ in range(classes)]
    for number, scene in enumerate(scenes):
        for label in {*scene.true.tolist(), *scene.found.tolist()}:
            with_label[label].append(number)
    for label in range(classes):
        count, scores = 0, [np.zeros(0)]
        matches = [Matched(*np.zeros((2, len(thresholds), 0), bool))]
        for scene, (found_beyond, true_beyond) in ((scenes[n], beyond[n]) for n in with_label[label]):
            there, of_class = np.flatnonzero(scene.true == label), np.flatnonzero(scene.found == label)
            order = of_class[np.argsort(-scene.scores[of_class], kind="stable")][:most]
            crowd, aside = scene.crowds()[there], true_beyond[there]
            one = match(scene.overlap[np.ix_(order, there)], thresholds, crowd, aside)
            matches.append(Matched(one.right, one.passed | (~one.right & found_beyond[order])))
            scores.append(scene.scores[order])
            count += int((~(crowd | aside)).sum())
        if count:
            order = np.argsort(-np.concatenate(scores), kind="stable")
            right, passed = (np.concatenate(parts, 1)[:, order] for parts in zip(*matches, strict=True))
            aps[:, label] = [_area(row[~gone], count, recalls) for row, gone in zip(right, passed, strict=True)]
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
