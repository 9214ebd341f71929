"""Overlap of boxes that stand on the ground and are turned about the vertical, exact but for rounding in f64.

A box is (x, y, z, l, w, h, yaw): its centre and its length, width and height in metres; at yaw 0 its length lies along x, and
yaw turns x towards y, in radians.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tritoncnn.errors import InputError

Boxes = NDArray[np.float64]  # [..., 7]
SIGNS = np.array(
    [[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]
)  # of the corners, counter-clockwise from ahead left


class Overlap(NamedTuple):
    """Intersection over union f64[N,M]: of the boxes seen from above, and of their volumes."""

    bev: NDArray[np.float64]
    volume: NDArray[np.float64]


def corners(boxes: Boxes) -> NDArray[np.float64]:
    """The corners seen from above, counter-clockwise from ahead left: f64[...,4,2]."""
    cos, sin = np.cos(boxes[..., 6]), np.sin(boxes[..., 6])
    turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)  # rows: where length and width point
    return boxes[..., None, :2] + (SIGNS * boxes[..., None, 3:5]) @ turn


def overlaps(a: Boxes, b: Boxes) -> Overlap:
    """Each box of ``a`` f64[N,7] against each of ``b`` f64[M,7]. Two boxes without any area, or volume, overlap by 0.

    Raises InputError for numbers that are not finite and for negative sizes.
    """
    a, b = _checked("a", a), _checked("b", b)
    # Only pairs whose circles meet are clipped: among a street's boxes these are few.
    radius_a, radius_b = (np.hypot(boxes[:, 3], boxes[:, 4]) / 2 for boxes in (a, b))
    apart = np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1])
    rows, cols = np.nonzero(apart <= radius_a[:, None] + radius_b[None, :])
    shared = np.zeros((len(a), len(b)))
    shared[rows, cols] = shared_area(a[rows], b[cols])
    area_a, area_b = a[:, 3] * a[:, 4], b[:, 3] * b[:, 4]
    top = np.minimum((a[:, 2] + a[:, 5] / 2)[:, None], (b[:, 2] + b[:, 5] / 2)[None])
    bottom = np.maximum((a[:, 2] - a[:, 5] / 2)[:, None], (b[:, 2] - b[:, 5] / 2)[None])
    both = shared * np.maximum(top - bottom, 0.0)
    return Overlap(_over_union(shared, area_a, area_b), _over_union(both, area_a * a[:, 5], area_b * b[:, 5]))


def shared_area(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """The area, seen from above, that the i-th box of ``a`` shares with the i-th of ``b``: f64[N].

    Sutherland & Hodgman 1974: the one rectangle is cut by the line along each side of the other. A cut keeps the corners on
    the inner side and adds one where the outline crosses the line, so that corners which coincide, sides which touch and boxes
    without area need no case of their own: rounding moves a corner, never the outline's order.
    """
    # In b's own frame its sides are four lines along the axes; near the origin no digits are lost.
    cos, sin = np.cos(b[:, 6]), np.sin(b[:, 6])
    dx, dy = a[:, 0] - b[:, 0], a[:, 1] - b[:, 1]
    seen = a.copy()
    seen[:, 0], seen[:, 1], seen[:, 6] = dx * cos + dy * sin, dy * cos - dx * sin, a[:, 6] - b[:, 6]
    outline = corners(seen)
    for axis, size in ((0, b[:, 3]), (1, b[:, 4])):
        for sign in (1.0, -1.0):
            outline = _cut(outline, size[:, None] / 2 - sign * outline[..., axis])
    x, y = outline[..., 0], outline[..., 1]
    twice = (x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(1)
    area: NDArray[np.float64] = np.maximum(twice / 2, 0.0)
    return area


def _cut(outline: NDArray[np.float64], inside: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep what lies where ``inside`` f64[N,P] is not negative of convex outlines f64[N,P,2]: f64[N,2P,2].

    Places of the result that no corner needs repeat the corner before them, which adds no area.
    """
    after, then = np.roll(outline, -1, 1), np.roll(inside, -1, 1)
    keep, crosses = inside >= 0, (inside >= 0) != (then >= 0)
    step = np.where(crosses, inside / np.where(crosses, inside - then, 1.0), 0.0)
    N, P, _ = outline.shape
    found = np.stack([outline, outline + step[..., None] * (after - outline)], 2).reshape(N, 2 * P, 2)
    used = np.stack([keep, crosses], 2).reshape(N, 2 * P)
    place = np.where(used, np.arange(used.shape[1]), -1)
    last = np.maximum.accumulate(place, 1)
    last = np.where(last < 0, place.max(1, keepdims=True), last)  # before the first corner: the last one
    return np.where((last >= 0)[..., None], np.take_along_axis(found, np.maximum(last, 0)[..., None], 1), 0.0)


def _over_union(shared: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    union = a[:, None] + b[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _checked(name: str, boxes: Boxes) -> Boxes:
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 7:
        raise InputError(f"overlaps: {name} must be boxes [N,7] of x, y, z, l, w, h, yaw; got {list(boxes.shape)}")
    if not np.isfinite(boxes).all():
        raise InputError(f"overlaps: {name} must hold finite numbers; got {boxes[~np.isfinite(boxes).all(1)][0]}")
    if (boxes[:, 3:6] < 0).any():
        raise InputError(f"overlaps: sizes of {name} must not be negative; got {boxes[(boxes[:, 3:6] < 0).any(1)][0]}")
    return boxes
