from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tritoncnn.boxes.rotated import overlaps
from tritoncnn.data import streets as room
from tritoncnn.data.define import Dataset
from tritoncnn.data.ink import read_ink
from tritoncnn.data.raycast import meet_boxes, meet_poles
from tritoncnn.data.scan import ScanReader
from tritoncnn.data.streets import GROUND, SEEN, make_scene
from tritoncnn.errors import DataError

READ = ScanReader((0.0, -19.2, -3.0), (38.4, 19.2, 1.0), 1024)
SCENES = [make_scene(seed) for seed in range(20)]


def inside(points: np.ndarray, box: np.ndarray, slack: float) -> np.ndarray:
    x, y, z, length, width, height, yaw = box
    dx, dy = points[:, 0] - x, points[:, 1] - y
    ahead, aside = dx * math.cos(yaw) + dy * math.sin(yaw), dy * math.cos(yaw) - dx * math.sin(yaw)
    near = (np.abs(ahead) < length / 2 + slack) & (np.abs(aside) < width / 2 + slack)
    return near & (np.abs(points[:, 2] - z) < height / 2 + slack)


def test_a_scene_follows_from_its_seed() -> None:
    again = make_scene(3)
    np.testing.assert_array_equal(again.points, SCENES[3].points)
    np.testing.assert_array_equal(again.boxes, SCENES[3].boxes)
    assert not np.array_equal(SCENES[2].points[:100], SCENES[3].points[:100])


def test_cars_do_not_stand_in_each_other_and_each_is_hit_by_rays() -> None:
    assert sum(len(scene.boxes) for scene in SCENES) > 5 * len(SCENES)
    for scene in SCENES:
        alone = overlaps(scene.boxes, scene.boxes).bev
        np.fill_diagonal(alone, 0)
        assert alone.max(initial=0) == 0
        assert all(inside(scene.points, box, 0.15).sum() >= SEEN for box in scene.boxes)


def test_points_lie_on_cars_and_not_in_them_and_the_ground_is_below() -> None:
    deep = on = 0
    for scene in SCENES:
        assert scene.points[:, 2].min() > GROUND - 1
        assert scene.points[:, 3].min() >= 0
        assert scene.points[:, 3].max() <= 1
        for box in scene.boxes:
            on += int(inside(scene.points, box, 0.15).sum())
            core = box.copy()
            core[2], core[5] = GROUND + 0.5, 0.2  # of the body, where it is as long and wide as the car
            deep += int(inside(scene.points, core, -0.15).sum())
    assert on > 20 * 20
    assert deep == 0  # rays end at the body's sides


def test_what_is_behind_a_car_is_hidden_by_it() -> None:
    rays = np.array([[1, 1, 1], [0, 0, 0.5], [0, 0, 0]], np.float32)
    near, far = (10.0, 0, 0, 2, 2, 2, 0.0), (20.0, 0, 0, 4, 8, 2, math.pi / 4)
    found = meet_boxes(rays, [near, far])
    np.testing.assert_allclose(found[0], [9, 9, np.inf])  # the third ray leaves by y = 0.5 x
    assert found[1, 0] == pytest.approx(20 - 2 * math.sqrt(2), rel=1e-5)  # a corner stands out
    assert (found.argmin(0)[:2] == 0).all()


def test_rays_meet_poles_in_front_and_below_their_tops() -> None:
    rays = np.array([[1, -1, 1, 0.6], [0, 0, 0, 0.8], [0, 0, 1, 0]], np.float32)
    found = meet_poles(rays, [(5.0, 0.0, 0.5, 3.0)], GROUND)
    np.testing.assert_allclose(found, [[4.5, np.inf, np.inf, np.inf]], rtol=1e-6)


@pytest.fixture(scope="module")
def data() -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "TRAIN", 6)
        patch.setattr(room, "TEST", 3)
        return room.streets.load(None, READ)


def test_the_data_set_tells_what_it_is_and_keeps_its_parts_apart(data: Dataset) -> None:
    assert data.train.x.shape == (6, 1024, 4)
    assert data.test.x.shape == (3, 1024, 4)
    assert data.train.y.shape[0] == 6
    assert data.train.y.shape[2] == 8
    assert data.facts.classes == ("car",)
    assert "made" in data.remarks[0]
    scans = torch.cat((data.train.x, data.test.x))
    assert len({scan.numpy().tobytes() for scan in scans}) == 9
    assert data.note["train_cars"] == int(data.train.y[..., 7].sum()) > 6
    assert set(data.train.y[..., 7].unique().tolist()) <= {0.0, 1.0}
    held = data.train.y[..., 7] > 0
    assert bool((data.train.y[held][:, 0] < 38.4).all())
    assert not data.train.y[~held].any()


def test_pictures_are_refused() -> None:
    with pytest.raises(DataError, match="data set 'streets' holds lidar scans; the task reads pictures"):
        room.streets.load(None, read_ink)
