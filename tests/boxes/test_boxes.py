"""Overlaps against a fine grid, suppression and average precision against other code."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster

from tritoncnn.boxes import (
    COCO_THRESHOLDS,
    SIZES,
    Scene,
    areas,
    average_precisions,
    match,
    mean_over,
    overlaps,
    shares_inside,
    suppress,
)


def boxes_of(random: np.random.RandomState, count: int, side: float = 60.0) -> np.ndarray:
    low = random.rand(count, 2) * side
    return np.concatenate([low, low + 1 + random.rand(count, 2) * side], 1)


def test_overlaps_are_shares_of_pixels() -> None:
    random = np.random.RandomState(0)
    a, b = (random.randint(0, 12, (20, 4)) for _ in range(2))
    for boxes in (a, b):
        boxes[:, 2:] += boxes[:, :2]
    grid = np.arange(24)

    def pixels(box: np.ndarray) -> np.ndarray:
        inside = [(grid >= box[i]) & (grid < box[i + 2]) for i in range(2)]
        return inside[0][:, None] & inside[1][None]

    for i, one in enumerate(a):
        assert areas(one) == pixels(one).sum()
        for j, other in enumerate(b):
            both, either = (how(pixels(one), pixels(other)).sum() for how in (np.logical_and, np.logical_or))
            assert overlaps(a, b)[i, j] == pytest.approx(both / either if either else 0)


def test_no_boxes_have_no_overlaps() -> None:
    some = np.array([[0, 0, 1, 1.0]])
    assert overlaps(np.zeros((0, 4)), some).shape == (0, 1)
    assert overlaps(some, np.zeros((0, 4))).shape == (1, 0)


def test_a_box_whose_sides_are_the_wrong_way_round_has_no_area_and_overlaps_nothing() -> None:
    turned, upright = np.array([[3, 3, 1, 1.0]]), np.array([[0, 0, 4, 4.0]])
    assert areas(turned).tolist() == [0]
    assert overlaps(turned, upright).tolist() == [[0]]
    assert overlaps(turned, turned).tolist() == [[0]]


@pytest.mark.parametrize("seed", range(20))
def test_suppression_is_that_of_the_definition(seed: int) -> None:
    """A box stays unless one of its class that stays, of a higher score, overlaps it by more than the limit."""
    random = np.random.RandomState(seed)
    boxes, classes = boxes_of(random, 25), random.randint(0, 3, 25)
    scores = random.randint(0, 9, 25) / 9  # with equal scores
    overlap = overlaps(boxes, boxes)
    stays: dict[int, bool] = {}
    for i in sorted(range(25), key=lambda i: (-scores[i], i)):
        stays[i] = not any(stays[j] and classes[j] == classes[i] and overlap[i, j] > 0.4 for j in stays)
    wanted = [i for i, kept in stays.items() if kept]
    assert suppress(overlap, scores, classes, 0.4).tolist() == wanted
    assert suppress(overlap, scores, classes, 0.4, most=3).tolist() == wanted[:3]


def test_suppression_of_nothing_leaves_nothing() -> None:
    assert suppress(np.zeros((0, 0)), np.zeros(0), np.zeros(0, np.int64), 0.5).tolist() == []


def test_a_true_box_is_found_once_and_the_nearest_free_one_is_taken() -> None:
    overlap = np.array([[0.6, 0.8], [0.7, 0.9], [0.9, 0.9]])
    assert match(overlap, [0.5]).right.tolist() == [[True, True, False]]
    assert match(overlap, [0.75]).right.tolist() == [[True, False, True]]
    assert match(np.ones((1, 1)), [1.0]).right.tolist() == [[True]]
    assert match(np.zeros((2, 0)), [0.5]).right.tolist() == [[False, False]]
    assert not match(overlap, [0.5]).passed.any()
    first = np.array(
        [True, False]
    )  # the first true box is aside: it comes last, and is taken once, unless it is a crowd
    assert [part.tolist() for part in match(overlap, [0.5], aside=first)] == [
        [[True, False, False]],
        [[False, True, False]],
    ]
    assert [part.tolist() for part in match(overlap, [0.5], first)] == [[[True, False, False]], [[False, True, True]]]


def scenes_of(seed: int, classes: int, crowds: float = 0.0) -> tuple[list[Scene], list[tuple[np.ndarray, np.ndarray]]]:
    """Pictures without any boxes too, classes without any, more than 100 finds of one class, equal scores; a share of crowds."""
    random = np.random.RandomState(seed)
    scenes, boxes = [], []
    for number in range(12):
        G, extra = random.randint(0, 7), 260 if number == 5 else random.randint(0, 5)
        true_boxes, true = boxes_of(random, G, 150), random.randint(0, classes - 1, G)
        near = np.repeat(true_boxes, 2, 0)
        near = near + random.randn(*near.shape) * random.choice([1, 8, 20], (len(near), 1))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 0.5)
        found_boxes = np.concatenate([near, boxes_of(random, extra, 150)])
        found = np.concatenate([np.repeat(true, 2), random.randint(0, classes, extra)])
        found = np.where(random.rand(len(found)) < 0.8, found, random.randint(0, classes, len(found)))
        scores = np.round(random.rand(len(found)), 2)
        crowd = random.rand(G) < crowds if crowds else np.zeros(G, bool)
        overlap = np.where(crowd, shares_inside(found_boxes, true_boxes), overlaps(found_boxes, true_boxes))
        sizes = (
            areas(found_boxes),
            areas(true_boxes) * random.choice([0.3, 0.9, 1.0], G),
        )  # outlines have less than boxes
        scenes.append(Scene(overlap, scores, found, true, crowd if crowds else None, sizes))
        boxes.append((found_boxes, true_boxes))
    return scenes, boxes


def coco(scenes: list[Scene], boxes: list[tuple[np.ndarray, np.ndarray]], classes: int) -> np.ndarray:
    """precision [T,R,classes,sizes] of the other code, -1 where there is nothing; sizes: all, small, medium, large."""

    def rows(
        values: np.ndarray, labels: np.ndarray, crowd: np.ndarray, size: np.ndarray, image: int
    ) -> list[dict[str, Any]]:
        return [
            {"image_id": image, "category_id": int(label) + 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": int(many),
             "area": float(area)}
            for (x0, y0, x1, y1), label, many, area in zip(values.tolist(), labels, crowd, size, strict=True)
        ]  # fmt: skip

    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, (scene, (found_boxes, true_boxes)) in enumerate(zip(scenes, boxes, strict=True), 1):
        none = np.zeros(len(found_boxes), bool)
        assert scene.areas is not None
        truth += rows(true_boxes, scene.true, scene.crowds(), scene.areas[1], image)
        for row, score in zip(rows(found_boxes, scene.found, none, scene.areas[0], image), scene.scores, strict=True):
            found.append(row | {"score": float(score)})
    for number, row in enumerate(truth, 1):
        row["id"] = number
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = {
            "images": [{"id": i + 1, "width": 400, "height": 400} for i in range(len(scenes))],
            "categories": [{"id": i + 1, "name": str(i)} for i in range(classes)],
            "annotations": truth,
        }
        data.createIndex()
        judge = COCOeval_faster(data, data.loadRes(found), iouType="bbox")
        judge.evaluate()
        judge.accumulate()
    return judge.eval["precision"][:, :, :, :, -1]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("crowds", [0.0, 0.4])
def test_average_precision_agrees_with_other_code(seed: int, crowds: float) -> None:
    classes = 4  # of the last there is nothing
    scenes, boxes = scenes_of(seed, classes, crowds)
    aps = average_precisions(scenes, classes)
    *sizes, precision = np.moveaxis(coco(scenes, boxes, classes)[..., [1, 2, 3, 0]], 3, 0)
    for size, other in zip(SIZES.values(), sizes, strict=True):
        ours = average_precisions(scenes, classes, size=size)
        assert (np.isnan(ours) == (other == -1).all(1)).all()
        np.testing.assert_allclose(ours[~np.isnan(ours)], other.mean(1)[~np.isnan(ours)], atol=1e-6)
        there = other[other > -1]
        assert mean_over(ours) == pytest.approx(there.mean() if len(there) else 0, abs=1e-6)
    assert np.isnan(aps[:, -1]).all()
    assert (precision[:, :, -1] == -1).all()
    np.testing.assert_allclose(aps[:, :-1], precision[:, :, :-1].mean(1), atol=1e-6)
    assert mean_over(aps) == pytest.approx(precision[precision > -1].mean(), abs=1e-6)
    assert 0.02 < mean_over(aps[:1]) < 0.95


def test_what_is_found_in_a_crowd_counts_neither_as_right_nor_as_wrong() -> None:
    """Three finds: one of the lone thing, two in the crowd, of which the surest also lies on the thing a little."""
    overlap = np.array([[0.2, 0.9], [0.8, 0.6], [0.0, 1.0], [0.0, 0.4]])
    scene = Scene(
        overlap, np.array([0.9, 0.8, 0.7, 0.6]), np.zeros(4, np.int64), np.zeros(2, np.int64), np.array([False, True])
    )
    assert average_precisions([scene], 1, [0.5]).tolist() == [[1.0]]
    assert average_precisions([scene._replace(crowd=None)], 1, [0.5])[0, 0] == pytest.approx(
        1.0
    )  # both are found, as boxes
    assert average_precisions([scene], 1, [0.95]).tolist() == [[0.0]]
    alone = Scene(np.array([[0.9]]), np.array([0.9]), np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([True]))
    assert np.isnan(average_precisions([alone], 1, [0.5])).all()


def test_what_is_found_perfectly_has_1_and_what_is_not_found_0() -> None:
    perfect = Scene(np.eye(2), np.array([0.9, 0.1]), np.array([0, 1]), np.array([0, 1]))
    nothing = Scene(np.zeros((0, 1)), np.zeros(0), np.zeros(0, np.int64), np.array([0]))
    empty = Scene(np.zeros((0, 0)), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert average_precisions([perfect, empty], 2).tolist() == [[1.0, 1.0]] * len(COCO_THRESHOLDS)
    assert average_precisions([nothing], 1, [0.5]).tolist() == [[0.0]]
    assert mean_over(average_precisions([empty], 2)) == 0.0
    assert mean_over(average_precisions([], 2)) == 0.0
