"""Made, not measured: lidar scans of streets with cars, by casting rays. No scene is in both parts.

A scene is ground, walls, hedges, poles and cars, as boxes and cylinders; a lidar stands in it as in KITTI, 1.73 m above the
ground. Each ray ends where it first meets something, so that what is behind a car is hidden by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.boxed_scans import Scene, make_boxed_scans
from tritoncnn.data.define import Array, Dataset, Source
from tritoncnn.data.raycast import meet_boxes, meet_poles
from tritoncnn.data.scan import ScanReader, check_scans

TRAIN, TEST = 480, 96  # scenes
TEST_SEED = 1_000_000  # scene i is made by seed i, of the test part by this one and i
GROUND = -1.73  # metres, below the lidar
BEAMS, COLUMNS = 48, 240  # rays above each other, and side by side
STEEP = (-24.8, 2.0)  # degrees: lowest and highest beam
WIDE = 45.0  # degrees to the left, and as many to the right
FAR, NOISE, LOST = 70.0, 0.02, 0.05  # reach and deviation of a range in metres; share of rays that do not come back
SEEN = 8  # a car with fewer points is no target: nobody could find it
LANES = (
    (-3.4, 0.0, 0.55),
    (0.0, 0.0, 0.2),
    (3.5, math.pi, 0.25),
    (7.0, math.pi, 0.55),
)  # y, heading, share of places taken


@dataclass
class _World:
    """Things of a scene. Boxes are x, y, z, l, w, h, yaw; poles are x, y, radius, height."""

    boxes: list[tuple[float, ...]] = field(default_factory=list)
    owner: list[int] = field(default_factory=list)  # of each box, the number of its car, else -1
    shine: list[float] = field(default_factory=list)  # of each box, its reflectance
    poles: list[tuple[float, float, float, float]] = field(default_factory=list)
    cars: list[tuple[float, ...]] = field(default_factory=list)

    def add(
        self, x: float, y: float, bottom: float, size: tuple[float, ...], yaw: float, shine: float, owner: int = -1
    ) -> None:
        self.boxes.append((x, y, bottom + size[2] / 2, *size, yaw))
        self.owner.append(owner)
        self.shine.append(shine)

    def add_car(self, x: float, y: float, yaw: float, random: np.random.RandomState) -> None:
        """A body, and on its rear part a cabin: which end is the front can be seen."""
        length, width, height = (
            float(np.clip(random.normal(mean, spread), mean - 2 * spread, mean + 2 * spread))
            for mean, spread in ((4.2, 0.35), (1.75, 0.1), (1.52, 0.1))
        )
        owner, shine, cabin = len(self.cars), random.uniform(0.2, 0.9), -0.12 * length
        self.add(x, y, GROUND + 0.25, (length, width, 0.6 * height - 0.25), yaw, shine, owner)
        on = x + cabin * math.cos(yaw), y + cabin * math.sin(yaw)
        self.add(*on, GROUND + 0.6 * height, (0.55 * length, 0.88 * width, 0.4 * height), yaw, shine, owner)
        self.cars.append((x, y, GROUND + height / 2, length, width, height, yaw))

    def free(self, x: float, y: float, room: float) -> bool:
        return all(math.hypot(x - box[0], y - box[1]) > room + math.hypot(box[3], box[4]) / 2 for box in self.boxes)


def make_scene(seed: int) -> Scene:
    """The points of a scan and the boxes of its cars, by a seed; those with fewer than SEEN points are left out."""
    random = np.random.RandomState(seed)
    world = _build(random)
    points, owner = _cast(world, random)
    seen = np.bincount(owner[owner >= 0], minlength=len(world.cars)) >= SEEN
    return Scene(points, np.array(world.cars, np.float64).reshape(-1, 7)[seen])


def _build(random: np.random.RandomState) -> _World:
    world, bend = _World(), random.normal(0, 0.12)  # by which the street is turned
    cos, sin = math.cos(bend), math.sin(bend)
    crossing = random.uniform(14, 32) if random.uniform() < 0.35 else math.inf

    def at(along: float, aside: float) -> tuple[float, float]:
        return along * cos - aside * sin, along * sin + aside * cos

    for aside, heading, share in LANES:
        along = random.uniform(5, 9)
        while along < 44:
            if random.uniform() < share and abs(along - crossing) > 7:
                x, y = at(along, aside + random.normal(0, 0.2))
                turned = random.uniform() < 0.1 and abs(aside) > 5  # parked across
                yaw = bend + heading + random.normal(0, 0.06) + (math.pi / 2 if turned else 0)
                world.add_car(x, y, yaw + (math.pi if random.uniform() < 0.15 and abs(aside) > 3.4 else 0), random)
            along += random.uniform(5.6, 7.5)
    for lane, heading in ((-1.8, math.pi / 2), (1.8, -math.pi / 2)):
        for aside in np.arange(-16, 17, 8) + random.uniform(-1, 1, 5):
            if crossing < 99 and random.uniform() < 0.35:
                world.add_car(*at(crossing + lane, aside), bend + heading + random.normal(0, 0.08), random)
    for side in (-1, 1):
        along = random.uniform(2, 6)
        while along < 60:
            length, deep = random.uniform(6, 16), random.uniform(9.5, 14) + (2 if side > 0 else 0)
            if abs(along + length / 2 - crossing) > length / 2 + 5:
                size = (length, 0.4, random.uniform(2.5, 8))
                world.add(*at(along + length / 2, side * deep), GROUND, size, bend, random.uniform(0.1, 0.5))
            along += length + random.uniform(0.5, 6)
    for _ in range(random.randint(4, 10)):  # hedges, bins, stalls: some are as large as cars
        x, y = at(random.uniform(6, 42), random.choice((-1, 1)) * random.uniform(5, 10))
        size = (random.uniform(0.6, 4.5), random.uniform(0.5, 2.2), random.uniform(0.6, 2.4))
        if world.free(x, y, 2.5):
            world.add(x, y, GROUND, size, random.uniform(0, math.pi), random.uniform(0.05, 0.6))
    for _ in range(random.randint(4, 12)):  # poles, trunks, people
        x, y = at(random.uniform(4, 42), random.choice((-1, 1)) * random.uniform(4.6, 9))
        if world.free(x, y, 0.5):
            world.poles.append((x, y, random.uniform(0.06, 0.35), random.uniform(1.5, 6)))
    return world


def _cast(world: _World, random: np.random.RandomState) -> tuple[Array, NDArray[np.int64]]:
    """Points f32[N,4], and of each the number of the car that it lies on, else -1."""
    steep = np.repeat(np.radians(np.linspace(*STEEP, BEAMS)), COLUMNS)
    wide = np.tile(np.radians(np.linspace(-WIDE, WIDE, COLUMNS)), BEAMS)
    rays = np.stack([np.cos(steep) * np.cos(wide), np.cos(steep) * np.sin(wide), np.sin(steep)]).astype(np.float32)
    slope = random.normal(0, 0.004, 2)  # of the ground
    fall = rays[2] - slope[0] * rays[0] - slope[1] * rays[1]
    ground = np.where(fall < 0, GROUND / np.where(fall < 0, fall, 1), np.inf)
    ranges = np.concatenate([ground[None], meet_boxes(rays, world.boxes), meet_poles(rays, world.poles, GROUND)])
    first = ranges.argmin(0)
    distance = ranges[first, np.arange(len(first))]
    owner = np.array([-1, *world.owner, *(-1 for _ in world.poles)])[first]
    shine = np.array([0.2, *world.shine, *(0.3 for _ in world.poles)])[first] + random.normal(0, 0.05, len(first))
    back = (distance < FAR) & (random.uniform(size=len(first)) >= LOST)
    distance = distance + random.normal(0, NOISE, len(first))
    points = np.concatenate([rays * distance, np.clip(shine, 0, 1)[None]]).T[back]
    return points.astype(np.float32), owner[back]


def load_streets(read: ScanReader) -> Dataset:
    train = [make_scene(seed) for seed in range(TRAIN)]
    test = [make_scene(TEST_SEED + seed) for seed in range(TEST)]
    remark = "streets are made by casting rays, not measured"
    return make_boxed_scans("streets", train, test, read, (remark,))


streets = Source(
    "streets",
    "ray-cast lidar scans of made streets with cars",
    "",
    lambda folder, read: load_streets(check_scans("streets", read)),
)
