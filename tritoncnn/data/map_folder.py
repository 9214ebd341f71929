"""Label maps of your own with photographs beside them: facades, Cityscapes, and folders in their form.

Source: Tylecek & Sara 2013 (CMP facades: NAME.jpg and NAME.png in one folder); Cordts et al. 2016 (Cityscapes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tritoncnn.data.define import Dataset, Reader, Source
from tritoncnn.data.folder import unwrapped
from tritoncnn.data.label_maps import Scenes, check_maps, fit_map, make_scenes, stack
from tritoncnn.data.mask_files import find_classes, read_mask, tell_lossy
from tritoncnn.data.paired import MASKS, NoPairs, Pair, find_pairs, part_pairs, read_pairs
from tritoncnn.data.pictures import read_colour
from tritoncnn.errors import DataError

NAME = "label-maps"
EACH = 3 * 4 + 1 + 4  # bytes of a pixel: three colours, and a label as read and as a number


def load_maps(folder: Path | None, read: Reader) -> Dataset:
    """Labels are those of classes.txt, label_colors.txt... in the folder, or of Cityscapes; else the ids that there are.

    Raises DataError.
    """
    assert folder is not None, "load_data asks for one"
    reader = check_maps(NAME, read)
    folder = unwrapped(folder)
    try:
        found = find_pairs(folder, MASKS)
    except NoPairs as error:
        raise DataError(
            f"{error}; pictures that are map and photograph side by side are for --data joined-maps"
        ) from error
    train, test = part_pairs(NAME, found)
    classes = find_classes(folder, [pair.beside for pair in (*train, *test)], "labels")

    def load(pairs: Sequence[Pair]) -> Scenes:
        def one(pair: Pair, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
            ids = fit_map(read_mask(pair.beside, classes), reader.size)
            return ids, reader.fit(read_colour(pair.picture))

        return stack(read_pairs(NAME, pairs, MASKS, one, EACH * reader.size**2))

    remarks = (*found.remarks, *tell_lossy("label maps", [pair.beside for pair in (*train, *test)], classes))
    data = make_scenes(NAME, classes.names, load(train), load(test), remarks, classes.colours)
    return replace(data, held_out=found.test is None)


label_maps = Source(
    NAME,
    "label maps with photographs beside them: folders, CMP facades, Cityscapes",
    f"a folder that holds {MASKS.form}, or NAME.jpg and NAME.png side by side",
    load_maps,
)
