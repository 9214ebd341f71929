"""Rotated overlap against shapely: boxes at random, equal, nested, touching, without area, far from the origin."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tritoncnn.boxes.rotated import corners, overlaps, shared_area
from tritoncnn.errors import InputError

Boxes = NDArray[np.float64]


def boxes_at_random(seed: int, count: int, centre: tuple[float, float] = (0.0, 0.0)) -> Boxes:
    random = np.random.RandomState(seed)
    low, high = (-3, -3, -1, 0, 0, 0.5, -7), (3, 3, 1, 5, 3, 2, 7)
    boxes = random.uniform(low, high, (count, 7))
    boxes[:, :2] += centre
    return boxes


def by_shapely(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union, of polygons whose corners are computed here."""

    def polygon(box: Boxes) -> shapely.Polygon:
        x, y, _, length, width, _, yaw = box
        turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
        outline = [
            (length / 2, width / 2),
            (-length / 2, width / 2),
            (-length / 2, -width / 2),
            (length / 2, -width / 2),
        ]
        return shapely.Polygon([turn @ corner + (x, y) for corner in outline])

    result = np.zeros((len(a), len(b)))
    for i, one in enumerate(map(polygon, a)):
        for j, other in enumerate(map(polygon, b)):
            shared = one.intersection(other).area
            union = one.area + other.area - shared
            result[i, j] = shared / union if union > 1e-15 else 0.0
    return result


@pytest.mark.parametrize(("seed", "centre"), [(0, (0.0, 0.0)), (1, (60.0, -35.0)), (2, (1000.0, 1000.0))])
def test_boxes_at_random_overlap_as_polygons_do(seed: int, centre: tuple[float, float]) -> None:
    a, b = boxes_at_random(seed, 25, centre), boxes_at_random(seed + 100, 20, centre)
    np.testing.assert_allclose(overlaps(a, b).bev, by_shapely(a, b), rtol=0, atol=1e-9)


def moved(box: Boxes, along: float = 0.0, aside: float = 0.0) -> Boxes:
    """By so many of its lengths and widths in its own frame."""
    x, y = along * box[3], aside * box[4]
    cos, sin = math.cos(box[6]), math.sin(box[6])
    return box + np.array([x * cos - y * sin, x * sin + y * cos, 0, 0, 0, 0, 0])


def turned(box: Boxes, quarters: int) -> Boxes:
    return box + np.array([0, 0, 0, 0, 0, 0, quarters * math.pi / 2])


RELATIONS = {
    "equal": (lambda box: box, 1.0),
    "turned about": (lambda box: turned(box, 2), 1.0),
    "a full circle on": (lambda box: turned(box, 4), 1.0),
    "half a length on": (lambda box: moved(box, 0.5), 1 / 3),
    "half a width aside": (lambda box: moved(box, 0, 0.5), 1 / 3),
    "touching in front": (lambda box: moved(box, 1), 0.0),
    "touching beside": (lambda box: moved(box, 0, -1), 0.0),
    "touching at a corner": (lambda box: moved(box, 1, 1), 0.0),
    "far away": (lambda box: moved(box, 30), 0.0),
    "nested": (lambda box: box * np.array([1, 1, 1, 0.5, 0.5, 1, 1]), 0.25),
    "nested in a corner": (lambda box: moved(box, 0.25, 0.25) * np.array([1, 1, 1, 0.5, 0.5, 1, 1]), 0.25),
    "without width": (lambda box: box * np.array([1, 1, 1, 1, 0, 1, 1]), 0.0),
    "without length and width": (lambda box: box * np.array([1, 1, 1, 0, 0, 1, 1]), 0.0),
}


@pytest.mark.parametrize("name", RELATIONS)
def test_boxes_that_coincide_touch_or_have_no_area(name: str) -> None:
    change, wanted = RELATIONS[name]
    boxes = boxes_at_random(3, 40, (20.0, -10.0))
    boxes[:, 3:5] += 0.1
    boxes[:8, 6] = np.arange(8) * math.pi / 4
    others = np.stack([change(box) for box in boxes])
    for a, b in ((boxes, others), (others, boxes)):
        np.testing.assert_allclose(np.diag(overlaps(a, b).bev), wanted, rtol=0, atol=1e-9)


def test_two_boxes_without_area_overlap_by_nothing() -> None:
    boxes = np.zeros((2, 7))
    pair = overlaps(boxes, boxes)
    assert not pair.bev.any()
    assert not pair.volume.any()


def test_volumes_are_areas_times_what_is_shared_in_height() -> None:
    box = np.array([[5.0, 2, 0, 4, 2, 2, 0.3]])
    shares = {0.0: 1.0, 1.0: 1 / 3, 2.0: 0.0, 3.0: 0.0}
    for lift, wanted in shares.items():
        pair = overlaps(box, box + np.array([0, 0, lift, 0, 0, 0, 0]))
        assert pair.bev[0, 0] == pytest.approx(1, abs=1e-12)
        assert pair.volume[0, 0] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
def test_no_boxes_have_no_overlaps(n: int, m: int) -> None:
    pair = overlaps(np.zeros((n, 7)), np.zeros((m, 7)))
    assert pair.bev.shape == pair.volume.shape == (n, m)
    assert shared_area(np.zeros((0, 7)), np.zeros((0, 7))).shape == (0,)


def test_boxes_that_are_all_apart_share_nothing() -> None:
    a = boxes_at_random(5, 4)
    assert not overlaps(a, a + np.array([100.0, 0, 0, 0, 0, 0, 0])).bev.any()


def test_corners_begin_ahead_on_the_left_and_go_counter_clockwise() -> None:
    found = corners(np.array([1.0, 2, 0, 4, 2, 1, math.pi / 2]))
    np.testing.assert_allclose(found, [[0, 4], [0, 0], [2, 0], [2, 4]], atol=1e-12)


WRONG = {
    "a must be boxes [N,7]": np.zeros((3, 6)),
    "a must be boxes [N,7] ": np.zeros(7),
    "a must hold finite numbers": np.full((1, 7), np.nan),
    "a must hold finite numbers; got": np.array([[np.inf, 0, 0, 1, 1, 1, 0]]),
    "sizes of a must not be negative": np.array([[0, 0, 0, 1, -1, 1, 0.0]]),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_what_are_no_boxes_is_refused(sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        overlaps(WRONG[sentence], np.zeros((1, 7)))
    assert sentence.strip() in str(caught.value)


@given(st.integers(0, 2**31), st.floats(-200, 200), st.floats(-200, 200), st.floats(-10, 10))
def test_overlap_is_symmetric_and_does_not_depend_on_where_one_stands(
    seed: int, x: float, y: float, yaw: float
) -> None:
    a, b = boxes_at_random(seed, 6), boxes_at_random(seed ^ 1, 5)
    here = overlaps(a, b)
    np.testing.assert_allclose(here.bev, overlaps(b, a).bev.T, rtol=0, atol=1e-9)
    cos, sin = math.cos(yaw), math.sin(yaw)

    def carried(boxes: Boxes) -> Boxes:
        there = boxes.copy()
        there[:, 0], there[:, 1] = boxes[:, 0] * cos - boxes[:, 1] * sin + x, boxes[:, 0] * sin + boxes[:, 1] * cos + y
        there[:, 6] += yaw
        return there

    there = overlaps(carried(a), carried(b))
    np.testing.assert_allclose(there.bev, here.bev, rtol=0, atol=1e-9)
    np.testing.assert_allclose(there.volume, here.volume, rtol=0, atol=1e-9)
