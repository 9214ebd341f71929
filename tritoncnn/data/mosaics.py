"""Scanned digits on dimmed photographs, each pixel marked with the digit that it is of. Made, of real scans and real photographs.

They are drawn as those of ``pasted.py``, with its licences. Neither a photograph nor a scan is in both parts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data.colour import check_colour
from tritoncnn.data.define import Array, Dataset, Source, hold_out
from tritoncnn.data.maps import MappedPart, make_mapped
from tritoncnn.data.pasted import COMMON, HELD_BACK, INK, TRIES, common, ground, paste, write
from tritoncnn.data.photographs import FILES, find, reduced
from tritoncnn.data.pictures import read_colour

CLASSES = ("ground", *map(str, range(10)))
PICTURES = {"train": 1600, "test": 200}
DIGITS = (1, 4)  # least and most of a picture, as far as there is room
HEIGHTS = (0.4, 0.6)  # of a digit, as shares of the picture's side
MADE = "the pictures are made: scans of digits pasted on photographs; no scan and no photograph is in both parts"


def load_mosaics(size: int) -> Dataset:
    """Pictures of ``size`` x ``size`` with a fixed seed."""
    train, test = (MappedPart(*part) for part in draw_mosaics(size))
    return make_mapped("mosaics", CLASSES, train, test, (MADE,))


def draw_mosaics(size: int) -> list[tuple[Array, NDArray[np.int64]]]:
    """Draw the training and the test part with a fixed seed: pictures f32[N,3,size,size] in [0, 1], classes i64[N,size,size]."""
    from sklearn import datasets  # late: scikit-learn takes a second

    raw = datasets.load_digits()
    held_out = hold_out(raw.target)
    parts = []
    for number, (part, chosen) in enumerate((("train", ~held_out), ("test", held_out))):
        names = [name for name in FILES if (name in HELD_BACK) == (part == "test")]
        grounds = [reduced(read_colour(find(name))) for name in names]
        scans, labels = raw.images[chosen].astype(np.float32) / 16, raw.target[chosen]
        random = np.random.RandomState(number)
        made = [_draw(grounds, scans, labels, size, random) for _ in range(PICTURES[part])]
        parts.append((np.stack([picture for picture, _ in made]), np.stack([mask for _, mask in made])))
    return parts


def _draw(
    grounds: list[Image.Image], scans: Array, labels: NDArray[np.int64], size: int, random: np.random.RandomState
) -> tuple[Array, NDArray[np.int64]]:
    """A picture f32[3,size,size] in [0, 1] and the class of each pixel i64[size,size]."""
    picture, mask = ground(grounds[random.randint(len(grounds))], size, random), np.zeros((size, size), np.int64)
    boxes: list[tuple[float, ...]] = []
    for _ in range(random.randint(DIGITS[0], DIGITS[1] + 1)):
        number = random.randint(len(scans))
        ink = write(scans[number], size, random, HEIGHTS)
        height, width = ink.shape
        for _ in range(TRIES):
            top, left = random.randint(size - height + 1), random.randint(size - width + 1)
            box = (left, top, left + width, top + height)
            if all(common(box, other) <= COMMON for other in boxes):
                paste(picture[top : top + height, left : left + width], ink, random)
                mask[top : top + height, left : left + width][ink >= INK] = 1 + labels[number]
                boxes.append(box)
                break
    return np.ascontiguousarray(picture.transpose(2, 0, 1)), mask


mosaics = Source(
    "mosaics",
    "scanned digits on photographs, with the class of each pixel",
    "",
    lambda folder, read: load_mosaics(check_colour("mosaics", read).size),
)
