"""Small data sets on disk, for tests of training."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TRAIN, TEST = 70, 20  # at batch size 8: 8 steps an epoch, 6 pictures left over


def strokes(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(u8[count,28,28], labels u8[count]): ten classes told apart by the place of a bright bar, under noise."""
    random = np.random.RandomState(seed)
    labels = (np.arange(count) % 10).astype(np.uint8)
    pictures = random.randint(0, 60, (count, 28, 28)).astype(np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        picture[4:24, 4 + 2 * label : 6 + 2 * label] = 255
    return pictures, labels


def idx(values: NDArray[np.uint8]) -> bytes:
    """The IDX file of an array of bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return (0x800 + values.ndim).to_bytes(4, "big") + sizes + values.tobytes()


def write_idx(folder: Path, compressed: bool = False) -> Path:
    """The four files of a tiny MNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", TRAIN, 0), ("t10k", TEST, 1)):
        pictures, labels = strokes(count, seed)
        for what, data in ((f"{name}-images-idx3-ubyte", idx(pictures)), (f"{name}-labels-idx1-ubyte", idx(labels))):
            path = folder / (what + ".gz" if compressed else what)
            path.write_bytes(gzip.compress(data) if compressed else data)
    return folder


def write_pictures(folder: Path, classes: tuple[str, ...] = ("left", "right", "top"), each: int = 6) -> Path:
    """A class-per-folder tree: a dark bar on white paper, whose place tells the class; PNG and JPEG, 40 x 60."""
    random = np.random.RandomState(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            picture = random.randint(225, 256, (60, 40)).astype(np.uint8)
            picture[5:55, 5:8] = picture[5:8, 5:35] = 20  # a corner, so that all classes have the same extent
            picture[20 + 10 * number : 24 + 10 * number, 5:35] = 20
            Image.fromarray(picture).save(folder / name / f"{i}.{'png' if i % 2 else 'jpg'}")
    return folder
