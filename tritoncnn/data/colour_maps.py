"""Pieces of photographs with label maps of their colours. The maps are made: k-means of each photograph's own colours.

The left part of each photograph is for training, the right one for testing, so that no pixel is in both; its clusters are found
in the left part alone. The photographs are those of ``photographs.py``, with their licences.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tritoncnn.data.colour import to_array
from tritoncnn.data.define import Array, Dataset, Source
from tritoncnn.data.label_maps import check_maps, make_scenes, stack
from tritoncnn.data.photographs import find
from tritoncnn.data.pictures import read_colour

NAMES = ("cat", "coffee", "flower", "gravel", "temple", "tissue")
CLUSTERS = 5  # labels of each photograph, from the darkest to the lightest
HEIGHT = 192  # rows to which photographs are reduced first
SEAM = 0.6  # share of the width that is for training
BLUR = 1.5  # pixels; of the picture whose colours are clustered, so that a label covers more than a pixel
PIECES = {"train": 160, "test": 16}  # of each photograph
ROUNDS = 20  # of k-means


def load_colour_maps(size: int) -> Dataset:
    """Draw pieces of ``size`` x ``size`` with a fixed seed; mirrored or not for training."""
    labels = [f"{name} {number + 1}" for name in NAMES for number in range(CLUSTERS)]
    random = np.random.RandomState(0)
    rows: dict[str, list[tuple[NDArray[np.uint8], Array]]] = {part: [] for part in PIECES}
    for place, name in enumerate(NAMES):
        picture, ids, seam = _labelled(find_reduced(name, size))
        ids = ids + np.uint8(place * CLUSTERS)
        halves = {"train": slice(0, seam), "test": slice(seam, None)}
        for part, columns in halves.items():
            own = picture[:, :, columns], ids[:, columns]
            rows[part] += [_piece(*own, size, random, part == "train") for _ in range(PIECES[part])]
    remark = (
        "the label maps are made: clusters of colours of six photographs; their left parts are for training, their right parts "
        "for testing"
    )
    train, test = (stack(rows[part]) for part in PIECES)
    return make_scenes("colour-maps", labels, train, test, (remark,))


def find_reduced(name: str, size: int) -> Image.Image:
    """A photograph whose right part, too, has room for a piece of ``size`` x ``size``."""
    photograph = read_colour(find(name))
    height = max(HEIGHT, size, round(size * photograph.height / photograph.width / (1 - SEAM)) + 1)
    return photograph.resize((round(photograph.width * height / photograph.height), height), Image.Resampling.BOX)


def _labelled(photograph: Image.Image) -> tuple[Array, NDArray[np.uint8], int]:
    """The picture f32[3,H,W], the cluster of each of its pixels u8[H,W], and the first column that is for testing."""
    seam = round(photograph.width * SEAM)
    smooth = to_array(photograph.filter(ImageFilter.GaussianBlur(BLUR)))
    colours = smooth.transpose(1, 2, 0).reshape(-1, 3).astype(np.float64)
    left = smooth[:, :, :seam].transpose(1, 2, 0).reshape(-1, 3).astype(np.float64)
    centres = cluster(left, CLUSTERS)
    ids = nearest(colours, centres).astype(np.uint8).reshape(photograph.height, photograph.width)
    return to_array(photograph), ids, seam


def cluster(colours: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """k-means of colours f64[any,3]: centres f64[count,3], by brightness. It begins at quantiles of that, and draws nothing.

    Source: Lloyd 1982, "Least squares quantization in PCM".
    """
    order = np.argsort(colours.sum(1), kind="stable")
    centres = np.stack([part.mean(0) for part in np.array_split(colours[order], count)])
    for _ in range(ROUNDS):
        own = nearest(colours, centres)
        centres = np.stack(
            [colours[own == i].mean(0) if (own == i).any() else centre for i, centre in enumerate(centres)]
        )
    return centres[np.argsort(centres.sum(1), kind="stable")]


def nearest(colours: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    distances = ((colours[:, None, :] - centres[None]) ** 2).sum(2)
    return distances.argmin(1)


def _piece(
    picture: Array, ids: NDArray[np.uint8], size: int, random: np.random.RandomState, vary: bool
) -> tuple[NDArray[np.uint8], Array]:
    top, left = (random.randint(length - size + 1) for length in ids.shape)
    cut = ids[top : top + size, left : left + size], picture[:, top : top + size, left : left + size]
    if vary and random.randint(2):
        cut = cut[0][:, ::-1], cut[1][:, :, ::-1]
    return np.ascontiguousarray(cut[0]), np.ascontiguousarray(cut[1])


colour_maps = Source(
    "colour-maps",
    "pieces of 6 photographs of scikit-image and scikit-learn, with made label maps of their colours",
    "",
    lambda folder, read: load_colour_maps(check_maps("colour-maps", read).size),
)
