"""Made, not measured: ray-cast rooms of ``chambers.py``, as pictures with depth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tritoncnn.data.boxes import GREY, check_fitted
from tritoncnn.data.chambers import View, make_views
from tritoncnn.data.define import Array, Dataset, Source
from tritoncnn.data.depths import DepthPart, make_depths
from tritoncnn.data.materials import Patterns

ROOMS = {"train": 600, "test": 60}
VIEWS = 4  # of each room
TEST_SEED = 1_000_000  # room i is made by seed i, of the test part by this one and i
BANDS = 0.25  # share of training pictures of which a part is grey, as is beside a picture that is not a square
REMARK = "the rooms are made by casting rays, not photographed; no room is in both parts"


def views_of(part: str, size: int) -> Iterator[View]:
    """All views of a part (train or test), ``size`` x ``size``."""
    patterns = Patterns(part == "test")
    for room in range(ROOMS[part]):
        yield from make_views(room + TEST_SEED * (part == "test"), size, VIEWS, patterns)


def load_rooms(size: int) -> Dataset:
    """Draw pictures of ``size`` x ``size`` with a fixed seed."""
    parts = []
    for part in ROOMS:
        views = list(views_of(part, size))
        pictures, depths = np.stack([v.picture for v in views]), np.stack([v.depth for v in views])
        if part == "train":
            _add_bands(pictures, depths, size)
        parts.append(DepthPart(pictures, depths))
    return make_depths("rooms", parts[0], parts[1], (REMARK,))


def _add_bands(pictures: Array, depths: Array, size: int) -> None:
    """Cut some pictures on the right or below, and lay them as ``FittedReader`` lays pictures that are not squares."""
    random = np.random.RandomState(0)
    for picture, depth in zip(pictures, depths, strict=True):
        if random.uniform() < BANDS:
            first = round(size * random.uniform(0.55, 0.9))
            cut = np.s_[..., first:, :] if random.uniform() < 0.7 else np.s_[..., first:]
            picture[cut], depth[cut] = GREY / 255, 0


rooms = Source(
    "rooms",
    "ray-cast rooms with depth",
    "",
    lambda folder, read: load_rooms(check_fitted("rooms", read).size),
)
