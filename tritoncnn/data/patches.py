"""Patches of photographs, or of a folder of pictures, to learn to paint them in one style. Parted by photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tritoncnn.data.canvas import HELD, PATCH, STYLE, crop, grams_of, make_canvases, photographs, spread
from tritoncnn.data.define import HELD_OUT, Dataset, Examples, Reader, Source
from tritoncnn.data.folder import files_in
from tritoncnn.data.photographs import reduced
from tritoncnn.data.pictures import SUFFIXES, read_colour
from tritoncnn.errors import DataError

TRAIN, TEST = 800, 32  # patches in all


def load_patches(style: str, patch: int) -> Dataset:
    """Patches of the photographs that come along. Raises DataError."""
    remark = f"patches of photographs; those for testing are of others: {', '.join(HELD)}"
    return _cut("patches", photographs(held=False), photographs(held=True), style, patch, remark)


def load_pictures(folder: Path | None, style: str, patch: int) -> Dataset:
    """Patches of all pictures in a folder and its folders, every fifth picture for testing. Raises DataError."""
    if folder is None:
        raise DataError("data set 'pictures' needs --data-dir: a folder of at least 2 pictures")
    files = [file for file in files_in(folder) if file.suffix.lower() in SUFFIXES]
    if len(files) < 2:
        raise DataError(f"folder {folder} must hold at least 2 pictures; got {len(files)}")
    every = round(1 / HELD_OUT)
    parts = [[], []]  # type: list[list[Image.Image]]
    for number, file in enumerate(files):
        parts[number % every == 0].append(reduced(read_colour(file)))
    remark = f"{len(parts[0])} pictures to train on, {len(parts[1])} others to test on"
    return _cut("pictures", parts[0], parts[1], style, patch, remark)


def _cut(name: str, train: list[Image.Image], test: list[Image.Image], style: str, patch: int, remark: str) -> Dataset:
    grams, random = grams_of(style), np.random.RandomState(0)
    parts = []
    for pictures, count, vary in ((train, TRAIN, True), (test, TEST, False)):
        x = np.stack([crop(pictures[i % len(pictures)], patch, random, vary) for i in range(count)])
        parts.append(Examples(torch.from_numpy(x), {"style": spread(grams, count), "content": torch.from_numpy(x)}))
    return make_canvases(name, parts[0], parts[1], (remark,))


def _builtin(folder: Path | None, read: Reader, *, style: str, patch: int) -> Dataset:
    return load_patches(style, patch)


def _folder(folder: Path | None, read: Reader, *, style: str, patch: int) -> Dataset:
    return load_pictures(folder, style, patch)


patches = Source(
    "patches", "patches of 8 photographs, those for testing of 2 others, and a style", "", _builtin, (STYLE, PATCH)
)
pictures = Source(
    "pictures", "patches of your own pictures, and a style", "a folder of pictures", _folder, (STYLE, PATCH)
)
