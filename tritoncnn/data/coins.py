"""Coins on a table that is lit unevenly, a photograph that comes with scikit-image: ground or coin, pixel by pixel.

The photograph (Brooklyn Museum, no known restrictions) is read from the package. No person drew its masks: they are made by a
watershed from markers, as in scikit-image's own examples. Three rows of coins are for training, the lowest one for testing,
so that no coin is in both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data.colour import check_colour, to_array
from tritoncnn.data.define import Array, Dataset, Source
from tritoncnn.data.maps import MappedPart, make_mapped
from tritoncnn.data.photographs import find
from tritoncnn.data.pictures import read_colour

CLASSES = ("ground", "coin")
TRAIN = 400  # pieces
PARTED = 225  # row: here, no coin is cut
SIDES = (48, 96)  # shortest and longest side of what a training piece shows, in pixels
SHOWN, APART = 64, (7, 40)  # side of what a test piece shows, and how far apart these are, down and across
DARK, LIGHT = 30, 150  # grey values of which ground and coins certainly are
SMALLEST = 100  # pixels of a coin


def coin_mask(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels of the photograph are of a coin: the watershed of its edges, without holes and crumbs."""
    from scipy import ndimage
    from skimage.filters import sobel
    from skimage.segmentation import watershed

    markers = np.zeros(grey.shape, np.int32)
    markers[grey < DARK], markers[grey > LIGHT] = 1, 2
    filled = ndimage.binary_fill_holes(watershed(sobel(grey), markers) == 2)
    pieces, count = ndimage.label(filled)
    areas = ndimage.sum_labels(filled, pieces, np.arange(1, count + 1))
    return np.isin(pieces, 1 + np.flatnonzero(areas >= SMALLEST))


def load_coins(size: int) -> Dataset:
    """Cut pieces of ``size`` x ``size`` with a fixed seed, for training of any scale and mirrored or not."""
    photograph = read_colour(find("coins"))
    mask = Image.fromarray(coin_mask(np.asarray(photograph)[:, :, 0]).astype(np.uint8))
    width, height = photograph.size
    random = np.random.RandomState(0)
    train = []
    for _ in range(TRAIN):
        side = random.randint(SIDES[0], SIDES[1] + 1)
        left, top = random.randint(width - side + 1), random.randint(PARTED - side + 1)
        picture, found = _cut(photograph, mask, left, top, side, size)
        mirror = slice(None, None, -1 if random.randint(2) else 1)
        train.append((picture[:, :, mirror], found[:, mirror]))
    places = [
        (left, top)
        for top in range(PARTED, height - SHOWN + 1, APART[0])
        for left in range(0, width - SHOWN + 1, APART[1])
    ]
    test = [_cut(photograph, mask, left, top, SHOWN, size) for left, top in places]
    parts = [MappedPart(*(np.stack(rows) for rows in zip(*part, strict=True))) for part in (train, test)]
    remark = "no person drew the masks of the coins: they are made by a watershed"
    return make_mapped("coins", CLASSES, parts[0], parts[1], (remark,))


def _cut(
    photograph: Image.Image, mask: Image.Image, left: int, top: int, side: int, size: int
) -> tuple[Array, NDArray[np.int64]]:
    box = (left, top, left + side, top + side)
    picture = to_array(photograph.resize((size, size), Image.Resampling.BILINEAR, box=box))
    return picture, np.asarray(mask.resize((size, size), Image.Resampling.NEAREST, box=box)).astype(np.int64)


coins = Source(
    "coins",
    "pieces of scikit-image's photograph of coins, with masks made by a watershed",
    "",
    lambda folder, read: load_coins(check_colour("coins", read).size),
)
