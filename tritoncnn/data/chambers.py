"""Made, not measured: pictures of rooms, with depth and parts, by casting rays. No room is in both parts.

A room is a box with boxes on its floor, balls, and pillars from floor to ceiling; a lamp hangs in it, and things throw
shadows. Its surfaces have the patterns of ``materials.py``. Ceiling and camera are at heights as in real rooms, and all
cameras have one angle of view: without that a picture of a large room and that of a doll's house would be the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.define import Array
from tritoncnn.data.materials import (
    BRICK,
    CARPET,
    CLOTH,
    EACH,
    GRAVEL,
    LEVELS,
    MARBLE,
    PAPER,
    PLANKS,
    PLASTER,
    RUBBER,
    SIDE,
    TILES,
    Material,
    Patterns,
)
from tritoncnn.data.raycast import leave_box, meet_balls, meet_boxes, meet_poles

FOCAL = 0.8  # of a camera, in widths of its picture: it sees 64 degrees
PARTS = ("floor", "ceiling", "wall", "box", "ball", "pillar")
AMBIENT, LAMP, DIM = (
    0.42,
    0.85,
    0.06,
)  # light from everywhere, from the lamp, and how fast that falls with the squared distance
NOISE = 0.012  # deviation of a pixel's value
CLEAR = 0.8  # metres between a camera and the middle of a thing, besides that thing's reach
AHEAD = 2.5  # metres from a camera to the wall before it, at least
TRIES = 30
Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Chamber:
    """A room from (0, 0, 0) to ``size``, in metres, z upwards.

    boxes    f32[B,7]: x, y, z of the middle, length, width, height, yaw
    balls    f32[K,4]: x, y, z, radius
    pillars  f32[P,3]: x, y, radius
    lamp     f32[3]
    faces    of floor, ceiling, four walls (at x = 0, x = size, y = 0, y = size), boxes, balls, pillars: first pattern
             i64[F], metres that it covers f32[F], and two colours f32[F,2,3]
    """

    size: Vector
    boxes: Vector
    balls: Vector
    pillars: Vector
    lamp: Vector
    patterns: NDArray[np.int64]
    metres: Vector
    colours: Vector


class Camera(NamedTuple):
    """Where it stands, f32[3], and in radians how far it is turned from x to y, and upwards."""

    place: Vector
    yaw: float
    pitch: float


class View(NamedTuple):
    """A picture f32[3,S,S] in [0, 1], its depth f32[S,S] in metres along the camera's axis, and i64[S,S] which of PARTS is
    seen.
    """

    picture: Array
    depth: Array
    parts: NDArray[np.int64]


def make_views(seed: int, size: int, views: int, patterns: Patterns) -> list[View]:
    """Look at the room of this seed from several places, each picture ``size`` x ``size``."""
    random = np.random.RandomState(seed)
    bounds = random.uniform((3.5, 3.5, 2.4), (8.0, 9.0, 2.9)).astype(np.float32)
    cameras = [_stand(bounds, random) for _ in range(views)]
    chamber = _furnish(bounds, [camera.place for camera in cameras], patterns, random)
    return [render(chamber, camera, size, patterns, random) for camera in cameras]


def _stand(bounds: Vector, random: np.random.RandomState) -> Camera:
    """Eye-high, and not with a wall right before it: of TRIES the first that is far enough, else the farthest."""
    best, farthest = None, 0.0
    for _ in range(TRIES):
        x, y = random.uniform((0.5, 0.5), bounds[:2] - 0.5)
        place = np.array([x, y, random.uniform(1.4, 1.6)], np.float32)
        yaw = random.uniform(-math.pi, math.pi)
        ahead = np.array([[math.cos(yaw)], [math.sin(yaw)], [0]], np.float32)
        far = float(leave_box(ahead, (*(bounds / 2 - place), *bounds, 0.0))[0])
        if far > farthest:
            best, farthest = Camera(place, yaw, math.radians(random.uniform(-22, -3))), far
        if far >= AHEAD:
            break
    assert best is not None, "a wall is always ahead"
    return best


def _furnish(bounds: Vector, places: Sequence[Vector], patterns: Patterns, random: np.random.RandomState) -> Chamber:
    """Put things where they neither touch each other nor stand before the eyes of a camera."""
    taken = [(float(place[0]), float(place[1]), CLEAR) for place in places]
    boxes, balls, pillars = [], [], []
    for _ in range(random.randint(2, 6)):
        length, width, height = random.uniform((0.35, 0.35, 0.3), (1.4, 0.9, 1.5))
        if (spot := _find_spot(bounds, math.hypot(length, width) / 2, taken, random)) is not None:
            boxes.append((*spot, height / 2, length, width, height, random.uniform(0, math.pi)))
            if height < 1 and random.uniform() < 0.4:  # a ball lies on it
                radius = random.uniform(0.12, 0.18)
                balls.append((*spot, height + radius, radius))
    for _ in range(random.randint(2, 5)):
        radius = random.uniform(0.15, 0.45)
        if (spot := _find_spot(bounds, radius, taken, random)) is not None:
            balls.append((*spot, radius, radius))
    for _ in range(random.randint(0, 3)):
        radius = random.uniform(0.1, 0.25)
        if (spot := _find_spot(bounds, radius, taken, random)) is not None:
            pillars.append((*spot, radius))
    kinds = _choose(random, len(boxes)) + [RUBBER] * len(balls) + [MARBLE] * len(pillars)
    dyed: dict[Material, tuple[Vector, int]] = {}  # of one kind all surfaces of a room are alike
    for kind in kinds:
        if kind not in dyed:
            dyed[kind] = _dye(kind, random), patterns.first[kind.pattern] + random.randint(EACH) * LEVELS
    return Chamber(
        size=bounds,
        boxes=np.array(boxes, np.float32).reshape(-1, 7),
        balls=np.array(balls, np.float32).reshape(-1, 4),
        pillars=np.array(pillars, np.float32).reshape(-1, 3),
        lamp=(random.uniform((0.25, 0.25, 0.85), (0.75, 0.75, 0.92)) * bounds).astype(np.float32),
        patterns=np.array([dyed[kind][1] for kind in kinds]),
        metres=np.array([kind.metres * random.uniform(0.8, 1.25) for kind in kinds], np.float32),
        colours=np.array([dyed[kind][0] for kind in kinds], np.float32),
    )


def _choose(random: np.random.RandomState, boxes: int) -> list[Material]:
    """Materials of floor, ceiling, four walls, boxes; one wall may be unlike the others."""
    walls = [(PLASTER, BRICK, PAPER)[random.randint(3)]] * 4
    if random.uniform() < 0.3:
        walls[random.randint(4)] = (BRICK, PAPER, GRAVEL)[random.randint(3)]
    floor = (PLANKS, TILES, CARPET, GRAVEL)[random.randint(4)]
    return [floor, PLASTER, *walls, *((PLANKS, CLOTH)[random.randint(2)] for _ in range(boxes))]


def _find_spot(
    bounds: Vector, reach: float, taken: list[tuple[float, float, float]], random: np.random.RandomState
) -> tuple[float, float] | None:
    """A place on the floor for a thing of this reach, kept in ``taken``; None where none was found."""
    for _ in range(TRIES):
        x, y = random.uniform((reach, reach), np.maximum(bounds[:2] - reach, reach + 0.01))
        if all(math.hypot(x - other[0], y - other[1]) > reach + other[2] for other in taken):
            taken.append((x, y, reach))
            return x, y
    return None


def _dye(kind: Material, random: np.random.RandomState) -> Vector:
    """The material's two colours f32[2,3], a little lighter or darker, and a little off in each channel."""
    pair = np.array([kind.dark, kind.light]) * random.uniform(0.85, 1.1) * random.uniform(0.94, 1.06, 3)
    return np.clip(pair, 0, 1).astype(np.float32)


def rays_of(camera: Camera, size: int) -> Array:
    """Directions f32[3,S*S] through the middles of a picture's pixels; each goes 1 along the camera's axis, so that
    parameters are depths.
    """
    cos, sin = math.cos(camera.yaw), math.sin(camera.yaw)
    level, rise = math.cos(camera.pitch), math.sin(camera.pitch)
    axis, right = np.array([cos * level, sin * level, rise]), np.array([sin, -cos, 0.0])
    down = -np.array([-cos * rise, -sin * rise, level])
    steps = (np.arange(size) + 0.5 - size / 2) / (FOCAL * size)
    rows, columns = np.repeat(steps, size), np.tile(steps, size)
    rays: Array = (axis[:, None] + right[:, None] * columns + down[:, None] * rows).astype(np.float32)
    return rays


def cast(chamber: Chamber, place: Vector, rays: Array) -> Array:
    """Where rays from ``place`` leave the room, or first meet each box, ball, pillar: f32[1+B+K+P,R]."""
    bounds, height = chamber.size, float(chamber.size[2])
    moved = [things - np.pad(place[:count], (0, things.shape[1] - count)) for things, count in (
        (chamber.boxes, 3), (chamber.balls, 3), (np.insert(chamber.pillars, 3, height, 1), 2),
    )]  # fmt: skip
    walls = leave_box(rays, (*(bounds / 2 - place), *bounds, 0.0))
    poles = meet_poles(rays, moved[2], -float(place[2]))
    return np.concatenate([walls[None], meet_boxes(rays, moved[0]), meet_balls(rays, moved[1]), poles])


def render(chamber: Chamber, camera: Camera, size: int, patterns: Patterns, random: np.random.RandomState) -> View:
    """Take a picture, and measure it."""
    rays = rays_of(camera, size)
    ranges = cast(chamber, camera.place, rays)
    first = ranges.argmin(0)
    depth = ranges[first, np.arange(len(first))]
    points = camera.place[:, None] + depth * rays
    face, normal, u, v = _surface(chamber, first, points)
    colours = chamber.colours[face]  # f32[R,2,3]
    texels = np.float32(SIDE) / chamber.metres[face]  # of a metre
    level = np.clip(np.round(np.log2(np.maximum(depth / (FOCAL * size) * texels, 1e-6))), 0, LEVELS - 1)
    share = patterns.sample(chamber.patterns[face] + level.astype(np.int64), u * texels, v * texels)
    paint = colours[:, 0] + (colours[:, 1] - colours[:, 0]) * share[:, None]
    shown = paint.T * _light(chamber, points, normal) * np.float32(random.uniform(0.85, 1.1))
    shown = np.clip(shown + random.normal(0, NOISE, shown.shape), 0, 1).astype(np.float32)
    B, K, P = (len(things) for things in (chamber.boxes, chamber.balls, chamber.pillars))
    part = np.array([0, 1, 2, 2, 2, 2, *[3] * B, *[4] * K, *[5] * P])[face]
    return View(shown.reshape(3, size, size), depth.reshape(size, size), part.reshape(size, size))


def _surface(
    chamber: Chamber, first: NDArray[np.int64], points: Array
) -> tuple[NDArray[np.int64], Array, Array, Array]:
    """Of each point f32[3,R] on the thing ``first`` (0: the room): its face, the direction f32[3,R] in which that looks, and
    where on it the point is, in metres (u, v).
    """
    B, K = len(chamber.boxes), len(chamber.balls)
    face, normal, uv = first + 5, np.zeros_like(points), np.zeros_like(points[:2])
    bricks = np.concatenate([np.array([[*(chamber.size / 2), *chamber.size, 0]], np.float32), chamber.boxes])
    on = first <= B
    x, y, z, length, width, height, yaw = bricks[first[on]].T
    cos, sin = np.cos(yaw), np.sin(yaw)
    dx, dy, dz = points[0, on] - x, points[1, on] - y, points[2, on] - z
    local = np.stack([cos * dx + sin * dy, cos * dy - sin * dx, dz])
    axis = np.abs(local / np.stack([length, width, height])).argmax(0)
    ahead = np.take_along_axis(local, axis[None], 0)[0] > 0
    sign = np.where(ahead, 1, -1) * np.where(first[on] == 0, -1, 1).astype(np.float32)  # a room's faces look inwards
    normal[:, on] = (
        np.stack([cos * (axis == 0) - sin * (axis == 1), sin * (axis == 0) + cos * (axis == 1), axis == 2]) * sign
    )
    uv[:, on] = np.where(axis == 0, local[1:], np.where(axis == 1, local[[0, 2]], local[:2]))
    walls = np.where(axis == 2, ahead, 2 + 2 * axis + ahead)  # floor, ceiling, then those of x and of y
    face[on] = np.where(first[on] == 0, walls, face[on])
    on = (first > B) & (first <= B + K)
    centre, radius = chamber.balls[first[on] - B - 1, :3].T, chamber.balls[first[on] - B - 1, 3]
    normal[:, on] = out = (points[:, on] - centre) / radius
    uv[:, on] = np.stack([np.arctan2(out[1], out[0]), np.arcsin(np.clip(out[2], -1, 1))]) * radius
    on = first > B + K
    x, y, radius = chamber.pillars[first[on] - B - K - 1].T
    normal[:2, on] = out = (points[:2, on] - np.stack([x, y])) / radius
    uv[:, on] = np.stack([np.arctan2(out[1], out[0]) * radius, points[2, on]])
    return face, normal, uv[0], uv[1]


def _light(chamber: Chamber, points: Array, normal: Array) -> Array:
    """How much of its light each of f32[3,R] points sends on, f32[R]: Lambert's law, with hard shadows."""
    rays = points - chamber.lamp[:, None]
    far = np.maximum((rays**2).sum(0), 1e-4)
    faced = np.maximum(-(rays * normal).sum(0) / np.sqrt(far), 0)
    hidden = (cast(chamber, chamber.lamp, rays)[1:] < 0.99).any(0)  # something is met before the point, which is at 1
    return AMBIENT * (1 + 0.15 * normal[2]) + LAMP * np.where(hidden, 0, faced) / (1 + DIM * far)
