from __future__ import annotations

import math

import numpy as np
import pytest

from tritoncnn.data import rooms_depth, rooms_parts
from tritoncnn.data.boxes import GREY, FittedReader
from tritoncnn.data.chambers import FOCAL, PARTS, Camera, Chamber, View, cast, make_views, rays_of, render
from tritoncnn.data.define import Dataset
from tritoncnn.data.ink import read_ink
from tritoncnn.data.materials import DRAWN, LEVELS, PHOTOGRAPHED, SIDE, Patterns
from tritoncnn.data.raycast import leave_box, meet_balls
from tritoncnn.errors import DataError

SIZE = 24
PATTERNS = Patterns(test=False)
VIEWS = [view for seed in range(12) for view in make_views(seed, SIZE, 2, PATTERNS)]


def chamber(
    *, boxes: list[tuple[float, ...]], balls: list[tuple[float, ...]], pillars: list[tuple[float, ...]]
) -> Chamber:
    """A room of 4 x 6 x 3 metres with a lamp near its middle, all of whose faces are white."""
    count = 6 + len(boxes) + len(balls) + len(pillars)
    return Chamber(
        size=np.array((4, 6, 3), np.float32),
        boxes=np.array(boxes, np.float32).reshape(-1, 7),
        balls=np.array(balls, np.float32).reshape(-1, 4),
        pillars=np.array(pillars, np.float32).reshape(-1, 3),
        lamp=np.array((2, 3, 2.9), np.float32),
        patterns=np.zeros(count, np.int64),
        metres=np.ones(count, np.float32),
        colours=np.ones((count, 2, 3), np.float32),
    )


def seen(world: Chamber, camera: Camera, size: int = SIZE) -> View:
    return render(world, camera, size, PATTERNS, np.random.RandomState(0))


def camera(x: float, y: float, z: float, yaw: float, pitch: float = 0.0) -> Camera:
    return Camera(np.array((x, y, z), np.float32), yaw, pitch)


def test_a_wall_straight_ahead_is_equally_deep_everywhere_and_the_floor_is_as_geometry_says() -> None:
    view = seen(chamber(boxes=[], balls=[], pillars=[]), camera(2, 1, 1.5, math.pi / 2))
    slopes = (np.arange(SIZE) + 0.5 - SIZE / 2) / (FOCAL * SIZE)  # of rays, downwards and to the right
    for row, slope in enumerate(slopes):
        height = 1.5 - 5 * slope  # at which the middle column's ray would meet the wall at y = 6
        wanted = 5.0 if 0 < height < 3 else 1.5 / abs(slope)
        assert view.depth[row, SIZE // 2] == pytest.approx(wanted, rel=1e-5)
        assert view.parts[row, SIZE // 2] == (
            PARTS.index("wall") if 0 < height < 3 else PARTS.index("floor" if slope > 0 else "ceiling")
        )
    sides = [2 / abs(slope) if abs(slope) * 5 > 2 else 5.0 for slope in slopes]
    np.testing.assert_allclose(view.depth[SIZE // 2], sides, rtol=1e-5)


@pytest.mark.parametrize("pitch", [-0.3, 0.0, 0.2])
@pytest.mark.parametrize("yaw", [0.4, 1.7, -2.5])
def test_depth_is_along_the_axis_of_a_camera_that_is_turned_and_tilted(yaw: float, pitch: float) -> None:
    ball, place = (1.5, 4.0, 1.2, 0.5), camera(2.2, 2.0, 1.4, yaw, pitch)
    rays = rays_of(place, 41).astype(np.float64)
    axis = np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)])
    np.testing.assert_allclose(axis @ rays, 1, rtol=1e-6)  # so a parameter is a depth
    np.testing.assert_allclose(rays[:, 41 * 20 + 20], axis, atol=1e-6)  # the middle pixel looks along the axis
    assert (np.diff(rays[2].reshape(41, 41)[:, 20]) < 0).all()  # rows go down
    right = rays[:, 41 * 20 + 40] - rays[:, 41 * 20]
    assert np.cross(axis, right)[2] < 0  # columns go to the right: from x to -y
    found = cast(chamber(boxes=[], balls=[ball], pillars=[]), place.place, rays.astype(np.float32))
    off = np.array(ball[:3]) - place.place
    long = np.sqrt((rays**2).sum(0))
    ahead = off @ (rays / long)
    apart = off @ off - ahead**2  # squared distance of the ray from the ball's middle
    hit = (apart < 0.25 - 1e-4) & (ahead > 0)
    np.testing.assert_allclose(found[1][hit], ((ahead - np.sqrt(np.maximum(0.25 - apart, 0))) / long)[hit], rtol=1e-3)
    assert not np.isfinite(found[1][(apart > 0.25 + 1e-4) | (ahead < 0)]).any()


def test_rays_leave_a_turned_box_and_meet_balls_from_outside_only() -> None:
    rays = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 2]], np.float32).T
    np.testing.assert_allclose(leave_box(rays, (1, 0, 0, 4, 2, 6, 0.0)), [3, 1, 1.5])
    np.testing.assert_allclose(leave_box(rays, (0, 0, 0, 4, 2, 6, math.pi / 2)), [1, 2, 1.5], rtol=1e-6)
    balls = [(3, 0, 0, 1), (-3, 0, 0, 1), (0.0, 0, 0, 1), (0, 4, 0, 2)]
    inf = np.inf
    np.testing.assert_allclose(meet_balls(rays, balls), [[2, inf, inf], [inf] * 3, [inf] * 3, [inf, 2, inf]])


def test_what_is_nearer_hides_what_is_behind_and_every_thing_has_its_part() -> None:
    world = chamber(boxes=[(2, 4, 0.75, 1, 1, 1.5, 0.0)], balls=[(2, 2.5, 1.5, 0.25)], pillars=[(0.5, 4, 0.2)])
    view = seen(world, camera(2, 1, 1.5, math.pi / 2, -0.2), 64)
    axis = math.cos(0.2), -math.sin(0.2)
    assert view.parts[:, 32].tolist() == sorted(view.parts[:, 32].tolist(), key=view.parts[:, 32].tolist().index)
    for part in ("floor", "wall", "box", "ball", "pillar"):
        assert (view.parts == PARTS.index(part)).any(), part
    ball = view.depth[view.parts == PARTS.index("ball")]
    assert ball.min() == pytest.approx(1.25 * axis[0], abs=0.05)
    front = view.depth[view.parts == PARTS.index("box")]
    assert front.min() >= 2.5 * axis[0] - 1e-3
    assert (np.unique(view.parts[10:40, 32]) >= 2).all()


def test_a_thing_throws_a_shadow_on_the_side_away_from_the_lamp() -> None:
    free, ball = (chamber(boxes=[], balls=balls, pillars=[]) for balls in ([], [(2.0, 3.0, 1.0, 0.5)]))
    look = camera(2, 0.5, 1.6, math.pi / 2, -0.5)
    lit, shaded = (seen(world, look, 48) for world in (free, ball))
    floor = (lit.parts == 0) & (shaded.parts == 0)
    darker = (lit.picture - shaded.picture).mean(0)[floor]
    assert (darker > 0.15).mean() > 0.05
    assert (darker < 0.06).mean() > 0.5  # most of the floor is as light as before, but for noise
    assert lit.picture.min() >= 0
    assert lit.picture.max() <= 1


def test_rooms_follow_from_their_seeds_and_all_that_is_seen_lies_in_the_room() -> None:
    again = make_views(3, SIZE, 2, PATTERNS)
    for view, other in zip(VIEWS[6:8], again, strict=True):
        for a, b in zip(view, other, strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(VIEWS[0].depth, VIEWS[2].depth)
    assert {int(part) for view in VIEWS for part in np.unique(view.parts)} == set(range(len(PARTS)))
    for view in VIEWS:
        assert view.depth.min() > 0.2
        assert view.depth.max() < math.hypot(8, 9, 3)
        assert view.picture.std() > 0.02
    assert np.median([view.depth.max() for view in VIEWS]) > 2.5  # no wall right before the eyes


def test_patterns_go_on_seamlessly_lose_detail_by_level_and_differ_between_the_parts() -> None:
    assert PATTERNS.texels.shape == (len(PATTERNS.first) * 4 * LEVELS, SIDE, SIDE)
    assert set(PATTERNS.first) == {*PHOTOGRAPHED, *DRAWN}
    assert PATTERNS.texels.min() >= 0
    assert PATTERNS.texels.max() <= 1
    rough = np.abs(np.diff(PATTERNS.texels, axis=2)).mean((1, 2)).reshape(-1, LEVELS)
    assert (np.diff(rough, axis=1) < 0).all()
    other = Patterns(test=True).texels[::LEVELS]
    own = PATTERNS.texels[::LEVELS]
    assert min(np.abs(a - b).mean() for a in own for b in other) > 0.02
    number, place = np.array([7, 7, 7, 7]), np.array([3.0, 3.0 + SIDE, 3.0 - SIDE, 3.5], np.float32)
    values = PATTERNS.sample(number, place, np.full(4, 5.0, np.float32))
    texels = PATTERNS.texels[7]
    np.testing.assert_allclose(values, [texels[5, 3]] * 3 + [(texels[5, 3] + texels[5, 4]) / 2], rtol=1e-6)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rooms_depth.ROOMS, "train", 5)
    monkeypatch.setitem(rooms_depth.ROOMS, "test", 2)


def loaded(source: str) -> Dataset:
    if source == "rooms":
        return rooms_depth.rooms.load(None, FittedReader(SIZE))
    return rooms_parts.room_parts.load(None, rooms_parts.GreyReader(SIZE))


def test_the_data_sets_say_that_they_are_made_and_hold_rooms_apart(few: None) -> None:
    for source in ("rooms", "room-parts"):
        data, again = loaded(source), loaded(source)
        assert data.fingerprint == again.fingerprint
        assert len(data.train) == 20
        assert len(data.test) == 8
        assert any("made" in remark for remark in data.remarks)


def test_what_is_beside_a_picture_in_training_has_no_depth(few: None) -> None:
    data = loaded("rooms")
    pictures = data.facts.restore(data.train.x)
    grey = (np.abs(pictures - GREY / 255) < 1e-3).all(1)
    unknown = data.train.y.numpy() == 0
    np.testing.assert_array_equal(grey & unknown, unknown)
    assert 0 < unknown.mean() < 0.3
    assert (data.test.y > 0).all()


def test_parts_depths_and_colours_are_those_of_the_same_view(few: None) -> None:
    depth, parts = loaded("rooms"), loaded("room-parts")
    colour = depth.facts.restore(depth.test.x)
    grey = parts.facts.restore(parts.test.x)
    back = rooms_parts.to_rgb(grey[:, 0], parts.test.y["colour"].numpy())
    np.testing.assert_allclose(back, colour, atol=2e-3)
    np.testing.assert_array_equal(parts.test.y["depth"], depth.test.y)
    assert parts.facts.classes == PARTS
    assert set(np.unique(parts.test.y["parts"])) <= set(range(len(PARTS)))


@pytest.mark.parametrize("source", ["rooms", "room-parts"])
def test_tasks_that_read_otherwise_are_refused(source: str) -> None:
    load = rooms_depth.rooms.load if source == "rooms" else rooms_parts.room_parts.load
    with pytest.raises(DataError, match=rf"^data set '{source}' holds .* the task reads its pictures in another way$"):
        load(None, read_ink)
