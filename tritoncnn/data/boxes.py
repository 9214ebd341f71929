"""Pictures with boxes in them: how they are fitted to a net's side, and a data set made of them.

A picture is scaled so that its longer side is the net's, and lies in the upper left corner; what is left over is grey. Boxes
are (class, x0, y0, x1, y1) in shares of that side, f32[M,5], filled up to one number M for all pictures with the class -1. A box
around a crowd, that is any number of things of a class, has a number below -1 instead of it, and so has what is marked as
difficult: nothing is learned of either. How large all is in pixels of the picture itself is beside: ``Pixels``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data.colour import ColourReader, to_array
from tritoncnn.data.define import Array, Dataset, Examples, Reader, facts_of, per_class
from tritoncnn.data.pictures import read_colour, upright_size
from tritoncnn.data.stream import PictureFiles, content_of, inputs_of, seen
from tritoncnn.errors import DataError

NONE = -1.0  # the class of what fills up
GREY = 114  # of what is left over
MOST = 1000  # boxes of a picture


def crowd_of(label: Any) -> Any:
    """A class -> what stands for a crowd of it: 0 is -2, 1 is -4..."""
    return -2 - 2 * label


def difficult_of(label: Any) -> Any:
    """A class -> what stands for a thing of it that is marked as difficult to see: 0 is -3, 1 is -5..."""
    return -3 - 2 * label


def class_of(marks: NDArray[np.float64]) -> NDArray[np.int64]:
    """What stands in a box's place for its class, NONE apart -> the class, of crowds and of what is difficult too."""
    return np.where(marks < 0, (-2 - marks) // 2, marks).astype(np.int64)


def of_crowd(marks: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of these stand for crowds."""
    return (marks < NONE) & (marks % 2 == 0)


@dataclass(frozen=True)
class FittedReader(ColourReader):
    """A path -> f32[3,size,size] in [0, 1]: the whole picture, its aspect ratio kept. Raises DataError."""

    def __call__(self, path: Path) -> Array:
        return self.fit(read_colour(path), upright_size(path))

    def fit(self, picture: Image.Image, shape: tuple[int, int] | None = None) -> Array:
        """``shape``: width and height of the picture before it was reduced."""
        size = fitted(*(shape or picture.size), self.size)
        how = Image.Resampling.BOX if max(picture.size) > self.size else Image.Resampling.BILINEAR
        page = Image.new("RGB", (self.size, self.size), (GREY, GREY, GREY))
        page.paste(picture.resize(size, how), (0, 0))
        return to_array(page)


def fitted(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height of a picture whose longer side becomes ``side``; no side is lost altogether."""
    longer = max(width, height)
    return max(1, round(width * side / longer)), max(1, round(height * side / longer))


def check_fitted(name: str, read: Reader) -> FittedReader:
    """``read`` as a reader of whole pictures, for data set ``name``. Raises DataError where the task wants others."""
    if not isinstance(read, FittedReader):
        raise DataError(
            f"data set {name!r} holds pictures with boxes in them; the task reads its pictures in another way"
        )
    return read


@dataclass(frozen=True)
class BoxedPart:
    """Pictures f32[N,3,S,S] in [0, 1], in memory or on disk, and of each its boxes f32[any,5].

    pixels  of each picture: its longer side, and the areas f64[any] of what its boxes are around. Where it is None pictures are
            as large as they were read
    """

    pictures: Array | PictureFiles
    boxes: Sequence[Array]
    pixels: Sequence[tuple[int, NDArray[np.float64]]] | None = None


class Pixels(NamedTuple):
    """Of examples, in pixels of their pictures: longer sides f64[N], and areas f64[N,M] of what is in the boxes; 0 fills up."""

    longer: torch.Tensor
    areas: torch.Tensor


def make_boxed_pictures(
    name: str,
    classes: Sequence[str],
    train: BoxedPart,
    test: BoxedPart,
    remarks: tuple[str, ...] = (),
    more: Mapping[str, Any] | None = None,
) -> Dataset:
    """Normalise pictures by mean and deviation of the training part, and fill up boxes. Raises DataError."""
    for what, part in (("training", train), ("test", test)):
        if not len(part.boxes):
            raise DataError(f"{name}: there are no {what} pictures")
        if not any((boxes[:, 0] >= 0).any() for boxes in part.boxes):
            raise DataError(f"{name}: no {what} picture has a box; wanted at least 1")
    facts = facts_of(name, classes, seen(train.pictures))
    room = max(len(boxes) for part in (train, test) for boxes in part.boxes)
    digest = hashlib.sha256(repr(facts.classes).encode())
    note: dict[str, Any] = {}
    parts = []
    counts = []
    for what, part in (("train", train), ("test", test)):
        y = torch.from_numpy(filled(part.boxes, room))
        parts.append(Examples(inputs_of(part.pictures, facts), y, pixels_of(part, y)))
        for piece in content_of(parts[-1].x):
            digest.update(piece)
        digest.update(parts[-1].y.numpy().data)
        labels = np.concatenate([boxes[:, 0] for boxes in part.boxes]).astype(np.int64)
        counts.append(np.bincount(labels[labels >= 0], minlength=len(classes)).tolist())
        note |= {f"{what}_pictures": len(part.boxes), f"{what}_boxes_per_class": counts[-1]}
    about = (
        f"{len(train.boxes)} + {len(test.boxes)} pictures with {sum(map(sum, counts))} boxes "
        f"(training + test): {per_class(classes, *counts)}"
    )
    return Dataset(name, facts, parts[0], parts[1], digest.hexdigest(), note | dict(more or {}), remarks, about)


def filled(boxes: Sequence[Array], room: int) -> Array:
    """f32[N,room,5]"""
    y = np.zeros((len(boxes), room, 5), np.float32)
    y[:, :, 0] = NONE
    for row, own in zip(y, boxes, strict=True):
        row[: len(own)] = own
    return y


def pixels_of(part: BoxedPart, y: torch.Tensor) -> Pixels:
    """How large the pictures and the things of a part are, whose filled up boxes are ``y`` f32[N,room,5]."""
    if part.pixels is None:
        side, (width, height) = part.pictures.shape[-1], (y[..., i + 2].double() - y[..., i] for i in (1, 2))
        return Pixels(torch.full((len(y),), side, dtype=torch.float64), width * height * side**2)
    areas = np.zeros(y.shape[:2])
    for row, (_, own) in zip(areas, part.pixels, strict=True):
        row[: len(own)] = own
    return Pixels(torch.tensor([longer for longer, _ in part.pixels], dtype=torch.float64), torch.from_numpy(areas))
