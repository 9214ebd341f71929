"""What a sceptic would try before a network that detects: one filter per class, laid over the picture at three sizes.

It is normalised correlation, as before there were networks, on the host: nothing of it is a part of training or inference.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from tritoncnn.boxes import average_precisions, mean_over, overlaps, suppress
from tritoncnn.data import Examples, Facts
from tritoncnn.task import Baseline, Values
from tritoncnn.tasks.kinds.detection import MOST, Finds, scenes_of

HALF = 2  # pictures are looked at in half their size
GRID = (16, 12)  # a class's filter before it is scaled, height and width
EACH = 100  # boxes of a class that its filter is made of
QUANTILES = (1 / 6, 1 / 2, 5 / 6)  # of the heights of boxes: the sizes that are tried
PEAKS = 6  # per picture, class and size
SAME = 0.3  # finds that overlap by more are one
LARGEST = 5 * 10**7  # test pixels times classes: with more it would take minutes
BLANK = 1e-3  # contrast below which a place of a picture fits nothing


def laid_over(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline | None:
    """mAP50 of the absolute correlation: a thing may be lighter or darker than its ground. None for large data sets."""
    if len(test) * test.x.shape[2] * test.x.shape[3] * len(facts.classes) > LARGEST:
        return None
    side = test.x.shape[-1] // HALF
    filters, heights, aspects = _filters(facts, train)
    found: list[list[tuple[float, int, NDArray[np.float64]]]] = [[] for _ in range(len(test))]
    pictures = _grey(facts, test.x)
    for label, filter in filters.items():
        for height in heights:
            h = int(min(side, max(3, round(height * side))))
            w = int(min(side, max(3, round(height * aspects[label] * side))))
            fits = _correlation(pictures, F.interpolate(filter[None, None], (h, w), mode="bilinear")[0, 0])
            peak = torch.where(fits == F.max_pool2d(fits, 3, 1, 1), fits, 0.0).flatten(1)
            scores, places = peak.topk(min(PEAKS, peak.shape[1]), 1)
            tops, lefts = places // fits.shape[-1], places % fits.shape[-1]
            for number in range(len(test)):
                rows = zip(scores[number].tolist(), tops[number].tolist(), lefts[number].tolist(), strict=True)
                found[number] += [(s, label, np.array([x, y, x + w, y + h]) / side) for s, y, x in rows if s > 0]
    finds = [_finds(rows) for rows in found]
    aps = average_precisions(scenes_of(finds, test.y), len(facts.classes), (0.5,))
    return Baseline("one filter per class, laid over the picture at three sizes", mean_over(aps))


def _grey(facts: Facts, x: torch.Tensor) -> torch.Tensor:
    """f32[N,C,H,W] -> f32[N,1,H/2,W/2]"""
    return F.avg_pool2d(torch.from_numpy(facts.restore(x)).mean(1, keepdim=True), HALF)


def _filters(facts: Facts, train: Examples) -> tuple[dict[int, torch.Tensor], list[float], dict[int, float]]:
    """(label -> what most of its boxes hold in common, heights to try, label -> width by height)

    In common: the first principal component of their grey values, each with mean 0 and norm 1, whose sign is free.
    """
    filters, aspects = {}, {}
    y = train.y
    for label in range(len(facts.classes)):
        rows, places = torch.nonzero(y[..., 0] == label, as_tuple=True)
        if not len(rows):
            continue
        boxes = y[rows, places, 1:]
        sides = boxes[:, 2:] - boxes[:, :2]
        aspects[label] = float((sides[:, 0] / sides[:, 1]).median())
        cut = torch.stack([
            _cut(_grey(facts, train.x[row : row + 1]), box)
            for row, box in zip(rows[:EACH].tolist(), boxes[:EACH].tolist(), strict=True)
        ]).flatten(1)  # fmt: skip
        cut = cut - cut.mean(1, keepdim=True)
        cut = cut / cut.norm(dim=1, keepdim=True).clamp(min=BLANK)
        filters[label] = torch.linalg.svd(cut, full_matrices=False).Vh[0].reshape(GRID)
    known = y[y[..., 0] >= 0]
    heights = torch.quantile((known[:, 4] - known[:, 2])[:100_000], torch.tensor(QUANTILES)).tolist()
    return filters, heights, aspects


def _cut(picture: torch.Tensor, box: list[float]) -> torch.Tensor:
    """What is in a box of a picture f32[1,1,S,S], as f32[16,12]."""
    side = picture.shape[-1]
    x0, y0 = (min(side - 1, int(value * side)) for value in box[:2])
    x1, y1 = max(x0 + 1, round(box[2] * side)), max(y0 + 1, round(box[3] * side))
    return F.interpolate(picture[:, :, y0:y1, x0:x1], GRID, mode="bilinear")[0, 0]


def _correlation(pictures: torch.Tensor, filter: torch.Tensor) -> torch.Tensor:
    """Absolute correlation of a filter f32[h,w] with each place of f32[N,1,S,S]: f32[N,S-h+1,S-w+1] from 0 to 1."""
    filter = filter - filter.mean()
    filter = filter / filter.norm().clamp(min=BLANK)
    area = filter.numel()
    fits = F.conv2d(pictures, filter[None, None])
    means, squares = (F.avg_pool2d(values, tuple(filter.shape), 1) for values in (pictures, pictures**2))
    contrast = (area * (squares - means**2)).clamp(min=0).sqrt()
    return torch.where(contrast > BLANK * area**0.5, fits.abs() / contrast, 0.0)[:, 0]


def _finds(rows: list[tuple[float, int, NDArray[np.float64]]]) -> Finds:
    scores = np.array([score for score, _, _ in rows], np.float64)
    labels = np.array([label for _, label, _ in rows], np.int64)
    boxes = np.array([box for _, _, box in rows], np.float64).reshape(-1, 4)
    kept = suppress(overlaps(boxes, boxes), scores, labels, SAME, MOST)
    return Finds(boxes[kept], scores[kept], labels[kept])
