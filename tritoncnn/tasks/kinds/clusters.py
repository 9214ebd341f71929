"""What a sceptic would try before any network on lidar scans: boxes around clusters of points that stand above the ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data import Examples, Facts
from tritoncnn.data.define import Array
from tritoncnn.task import Baseline, Values
from tritoncnn.tasks.kinds.boxes3d import Cars, judge, true_boxes

GROUND = 5.0  # percentile of the points' heights that is taken for the ground
ABOVE = (0.4, 2.5)  # metres above it: what may be a car
NEAR, CROWD = 0.8, 5  # DBSCAN: points within so many metres are neighbours, so many of them make a core
LONGEST, NARROW = 6.5, 2.2  # a longer cluster is a wall; one shorter than that shows the rear or front alone


def cluster_boxes(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline:
    """Average precision from above at overlap 0.5 of boxes as large as the mean car of the training part."""
    size = np.concatenate(true_boxes(train.y))[:, 3:6].mean(0)
    cars = [find_clusters(points, size) for points in test.x.numpy()]
    return Baseline("boxes around clusters of points", judge(cars, test.y)["bev_ap50"])


def find_clusters(points: Array, size: NDArray[np.float64]) -> Cars:
    """A box of this length, width and height for each cluster that is no longer than a car; the more points the surer."""
    from sklearn.cluster import DBSCAN  # late: it takes a second

    points = np.unique(points, axis=0)  # without those that were repeated to fill a batch
    ground = float(np.percentile(points[:, 2], GROUND))
    high = points[:, 2] - ground
    standing = points[(high > ABOVE[0]) & (high < ABOVE[1])].astype(np.float64)
    boxes, scores = [np.zeros((0, 7))], []
    if len(standing):
        labels = DBSCAN(eps=NEAR, min_samples=CROWD).fit_predict(standing[:, :2])
        for label in range(labels.max() + 1):
            cluster = standing[labels == label]
            box = _fit(cluster[:, :2], size, ground)
            if box is not None:
                boxes.append(box[None])
                scores.append(float(len(cluster)))
    found, sure = np.concatenate(boxes), np.array(scores, np.float64)
    order = np.argsort(-sure, kind="stable")
    return Cars(found[order], sure[order])


def _fit(cluster: NDArray[np.float64], size: NDArray[np.float64], ground: float) -> NDArray[np.float64] | None:
    """A box along the principal axes of points f64[N,2], its near sides where theirs are; None where they are too long."""
    middle = cluster.mean(0)
    axes = np.linalg.svd(cluster - middle, full_matrices=False)[2]
    along = cluster @ axes.T  # of each point, its place on the long axis and on the short one
    low, high = along.min(0), along.max(0)
    if high[0] - low[0] > LONGEST:
        return None
    if high[0] - low[0] < NARROW:  # the long axis runs across the car
        axes, low, high = axes[::-1], low[::-1], high[::-1]
    near = np.where(np.abs(low) <= np.abs(high), low + size[:2] / 2, high - size[:2] / 2)  # the lidar is at 0
    long = high - low > size[:2]
    place = np.where(long, (low + high) / 2, near) @ axes
    return np.array([*place, ground + size[2] / 2, *size, np.arctan2(axes[0, 1], axes[0, 0])])
