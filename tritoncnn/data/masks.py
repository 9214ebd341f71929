"""Pictures of your own with masks beside them: folders, CamVid, Cityscapes, Pascal VOC.

Source: Brostow et al. 2009 (CamVid); Cordts et al. 2016 (Cityscapes); Everingham et al. 2010 (Pascal VOC).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data.boxes import FittedReader, check_fitted, fitted
from tritoncnn.data.define import IGNORED, Array, Dataset, Reader, Source
from tritoncnn.data.maps import MappedPart, make_mapped
from tritoncnn.data.mask_files import VOID, Classes, Ids, classes_of, read_classes, read_mask
from tritoncnn.data.paired import MASKS, Pair, find_pairs, part_pairs, read_pairs
from tritoncnn.data.pictures import read_colour
from tritoncnn.errors import DataError

BINARY = ("background", "foreground")


def load_masks(folder: Path | None, read: Reader) -> Dataset:
    """Classes are those of classes.txt, label_colors.txt, class_dict.csv... in the folder, of Cityscapes, or of VOC; without
    these the ids that there are, and background and foreground where all masks are black and white.

    Raises DataError.
    """
    assert folder is not None, "load_data asks for one"
    fit = check_fitted("masks", read)
    train, test = part_pairs("masks", find_pairs(folder, MASKS))
    classes = read_classes(folder) or classes_of(train[0].beside) or _found(folder, [*train, *test])
    parts = [_read(pairs, fit, classes) for pairs in (train, test)]
    return make_mapped("masks", classes.names, parts[0], parts[1])


def _found(folder: Path, pairs: Sequence[Pair]) -> Classes:
    """Classes by the ids that there are; of masks in black and white alone two. Raises DataError where there is one."""
    ids = {int(value) for pair in pairs for value in np.unique(read_mask(pair.beside, None))}
    if ids == {0, VOID}:
        return Classes(BINARY, str(folder), ids=(0, *[IGNORED] * (VOID - 1), 1))
    if len(ids - {VOID}) < 2:
        raise DataError(f"the masks of {folder} have the ids {sorted(ids)}; wanted those of at least 2 classes")
    return Classes(tuple(map(str, range(max(ids - {VOID}) + 1))), str(folder))


def _read(pairs: Sequence[Pair], fit: FittedReader, classes: Classes) -> MappedPart:
    def read(pair: Pair, shape: tuple[int, int]) -> tuple[Array, Ids]:
        return fit.fit(read_colour(pair.picture), shape), fit_mask(read_mask(pair.beside, classes), fit.size)

    rows = read_pairs("masks", pairs, MASKS, read, fit.size**2 * (12 + 8))
    return MappedPart(np.stack([picture for picture, _ in rows]), to_classes(np.stack([mask for _, mask in rows])))


def fit_mask(mask: Ids, side: int) -> Ids:
    """A mask scaled as ``FittedReader`` scales its picture, each pixel the nearest; VOID is left over: u8[side,side]."""
    size = fitted(mask.shape[1], mask.shape[0], side)
    page = np.full((side, side), VOID, np.uint8)
    page[: size[1], : size[0]] = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    return page


def to_classes(masks: Ids) -> NDArray[np.int64]:
    """u8 with VOID -> i64 with IGNORED"""
    return np.where(masks == VOID, IGNORED, masks.astype(np.int64))


masks = Source(
    "masks",
    "pictures with masks of classes: folders, CamVid, Cityscapes, Pascal VOC",
    f"a folder that holds {MASKS.form}",
    load_masks,
)
