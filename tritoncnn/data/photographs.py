"""Twelve photographs that come with scikit-image and scikit-learn, cut into patches: of which of them is a patch?

The left halves are for training, the right halves for testing, so that no pixel is in both. Licences, as the packages name
them: brick, grass, gravel, cat (S. van der Walt), coffee (R. Michetti), retina (M. Haggstrom 2014): CC0; galaxies (NASA), rocket
(SpaceX): public domain; coins (Brooklyn Museum), tissue (CMMI): no known restrictions; temple (danielbuechele), flower
(vultilion): CC BY 2.0. They are read from the packages, and none is copied.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tritoncnn.data.colour import check_colour, to_array
from tritoncnn.data.define import Array, Dataset, Part, Source, make_labelled
from tritoncnn.data.pictures import read_colour
from tritoncnn.errors import DataError

Draw = Callable[[Image.Image, np.random.RandomState, bool], Array]

FILES = {
    "brick": "skimage/data/brick.png", "cat": "skimage/data/chelsea.png", "coffee": "skimage/data/coffee.png",
    "coins": "skimage/data/coins.png", "flower": "sklearn/datasets/images/flower.jpg",
    "galaxies": "skimage/data/hubble_deep_field.jpg", "grass": "skimage/data/grass.png",
    "gravel": "skimage/data/gravel.png", "retina": "skimage/data/retina.jpg", "rocket": "skimage/data/rocket.jpg",
    "temple": "sklearn/datasets/images/china.jpg", "tissue": "skimage/data/ihc.png",
}  # fmt: skip
PACKAGES = {"skimage": "scikit-image", "sklearn": "scikit-learn"}  # as pip names them
HEIGHT = 512  # larger photographs are first reduced to this height
TRAIN, TEST = 600, 50  # patches of each photograph
SIDES = (52, 80)  # shortest and longest side of what a training patch shows, in pixels of the photograph
SHOWN = 64  # side of what a test patch shows
LEAST = 0.02  # a patch is blank, and drawn again, where no channel has this standard deviation


def find(name: str) -> Path:
    """Where a package has the file of one of the twelve. Raises DataError."""
    return place_of(FILES[name], name)


def place_of(file: str, name: str = "") -> Path:
    """Where a package has a file ("skimage/data/brick.png"), without importing the package. Raises DataError."""
    package, _, inside = file.partition("/")
    spec = importlib.util.find_spec(package)
    path = Path(spec.submodule_search_locations[0], inside) if spec and spec.submodule_search_locations else None
    if path is None or not path.is_file():
        said = f"pip install --force-reinstall {PACKAGES[package]}" if path else f"pip install {PACKAGES[package]}"
        named = name or Path(inside).stem
        raise DataError(f"photograph {named!r} is not there: it is {inside} of the package {PACKAGES[package]}; {said}")
    return path


def load_photographs(size: int) -> Dataset:
    """Draw patches of ``size`` x ``size`` with a fixed seed.

    For training of any scale and mirrored or not, for testing of one scale, upright.
    """
    photographs = (reduced(read_colour(find(name))) for name in FILES)
    train, test = halves(photographs, TRAIN, TEST, lambda half, random, vary: _draw(half, random, size, vary))
    return make_labelled("photographs", tuple(FILES), train, test)


def halves(photographs: Iterable[Image.Image], train: int, test: int, draw: Draw) -> tuple[Part, Part]:
    """``train`` patches of the left half of each photograph, ``test`` of its right half; a class is a photograph.

    ``draw`` cuts one out of a half, by a random state of a fixed seed; whether it may vary the patch is said last.
    """
    random = np.random.RandomState(0)
    parts: tuple[tuple[list[Array], list[int]], ...] = ([], []), ([], [])
    for label, photograph in enumerate(photographs):
        width, height = photograph.size
        boxes = (0, 0, width // 2, height), (width // 2, 0, width, height)
        for (pictures, labels), box, count, vary in zip(parts, boxes, (train, test), (True, False), strict=True):
            half = photograph.crop(box)
            pictures += [draw(half, random, vary) for _ in range(count)]
            labels += [label] * count
    left, right = (Part(np.stack(pictures), np.array(labels, np.int64)) for pictures, labels in parts)
    return left, right


def reduced(photograph: Image.Image) -> Image.Image:
    """A photograph of at most HEIGHT rows."""
    width, height = photograph.size
    if height <= HEIGHT:
        return photograph
    return photograph.resize((round(width * HEIGHT / height), HEIGHT), Image.Resampling.BOX)


def _draw(half: Image.Image, random: np.random.RandomState, size: int, vary: bool) -> Array:
    """A patch f32[3,size,size] in [0, 1] that is not blank."""
    while True:
        side = min(random.randint(SIDES[0], SIDES[1] + 1), *half.size) if vary else SHOWN
        left, top = random.randint(half.width - side + 1), random.randint(half.height - side + 1)
        box = (left, top, left + side, top + side)
        patch = to_array(half.resize((size, size), Image.Resampling.BILINEAR, box=box))
        if patch.std(axis=(1, 2)).max() >= LEAST:
            mirrored = vary and random.randint(2)
            return np.ascontiguousarray(patch[:, :, ::-1]) if mirrored else patch


photographs = Source(
    "photographs",
    "patches of 12 photographs of scikit-image and scikit-learn",
    "",
    lambda folder, read: load_photographs(check_colour("photographs", read).size),
)
