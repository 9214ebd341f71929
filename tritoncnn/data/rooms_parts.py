"""Made, not measured: ray-cast rooms as grey pictures, and for each pixel which part is seen, how far it is, and its colour."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from tritoncnn.data.boxes import FittedReader
from tritoncnn.data.chambers import PARTS
from tritoncnn.data.define import Array, Dataset, Examples, Facts, Reader, Source, facts_of
from tritoncnn.data.rooms_depth import REMARK, ROOMS, views_of
from tritoncnn.errors import DataError
from tritoncnn.tree import Fields

RED, GREEN, BLUE = 0.299, 0.587, 0.114  # ITU-R 601


@dataclass(frozen=True)
class GreyReader(FittedReader):
    """A path -> f32[1,size,size] in [0, 1]: luma of the whole picture, its aspect ratio kept. Raises DataError."""

    def fit(self, picture: Image.Image, shape: tuple[int, int] | None = None) -> Array:
        return luma(super().fit(picture, shape)[None])


def luma(pictures: Array) -> Array:
    """f32[N,3,H,W] -> f32[N,H,W]"""
    weights = np.array([RED, GREEN, BLUE], np.float32)
    found: Array = np.einsum("nchw,c->nhw", pictures, weights)
    return found


def chroma(pictures: Array) -> Array:
    """f32[N,3,H,W] -> f32[N,2,H,W]: how much bluer and how much redder than grey, from -0.5 to 0.5 (Cb and Cr of ITU-R 601)."""
    grey = luma(pictures)
    found: Array = np.stack([(pictures[:, 2] - grey) / (2 - 2 * BLUE), (pictures[:, 0] - grey) / (2 - 2 * RED)], 1)
    return found.astype(np.float32)


def to_rgb(grey: Array, colour: Array) -> Array:
    """What has this luma f32[N,H,W] and chroma f32[N,2,H,W]: f32[N,3,H,W]."""
    blue, red = grey + (2 - 2 * BLUE) * colour[:, 0], grey + (2 - 2 * RED) * colour[:, 1]
    return np.stack([red, (grey - RED * red - BLUE * blue) / GREEN, blue], 1)


def load_parts(size: int) -> Dataset:
    """x f32[N,1,S,S]; y has ``parts`` i64[N,S,S], ``depth`` f32[N,S,S] in metres, ``colour`` f32[N,2,S,S]."""
    digest, facts, parts, counts = hashlib.sha256(repr(PARTS).encode()), None, [], []
    for part in ROOMS:
        views = list(views_of(part, size))
        pictures = np.stack([view.picture for view in views])
        grey = luma(pictures)[:, None]
        facts = facts or facts_of("room-parts", PARTS, grey)
        y = Fields(
            parts=torch.from_numpy(np.stack([view.parts for view in views])),
            depth=torch.from_numpy(np.stack([view.depth for view in views])),
            colour=torch.from_numpy(chroma(pictures)),
        )
        parts.append(Examples(facts.normalise(grey), y))
        for tensor in (parts[-1].x, *y.values()):
            digest.update(tensor.numpy().data)
        counts.append(np.bincount(y["parts"].flatten(), minlength=len(PARTS)) / y["parts"].numel())
    assert isinstance(facts, Facts), "there is a part"
    shares = ", ".join(f"{name} {share:.1%}" for name, share in zip(PARTS, counts[0], strict=True))
    about = f"{len(parts[0])} + {len(parts[1])} pictures (training + test); of their pixels {shares}"
    note = {"train_pictures": len(parts[0]), "test_pictures": len(parts[1])}
    return Dataset("room-parts", facts, parts[0], parts[1], digest.hexdigest(), note, (REMARK,), about)


def check_grey(read: Reader) -> GreyReader:
    """Raises DataError where the task reads no grey pictures."""
    if not isinstance(read, GreyReader):
        raise DataError(
            "data set 'room-parts' holds grey pictures with maps; the task reads its pictures in another way"
        )
    return read


room_parts = Source(
    "room-parts",
    "ray-cast rooms in grey, with parts, depth and colour",
    "",
    lambda folder, read: load_parts(check_grey(read).size),
)
