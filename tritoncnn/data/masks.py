"""Pictures of your own with masks beside them: folders, CamVid, Cityscapes, Pascal VOC.

Source: Brostow et al. 2009 (CamVid); Cordts et al. 2016 (Cityscapes); Everingham et al. 2010 (Pascal VOC).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data.boxes import FittedReader, check_fitted, fitted
from tritoncnn.data.colour import to_array
from tritoncnn.data.define import IGNORED, Array, Dataset, Reader, Source
from tritoncnn.data.folder import unwrapped
from tritoncnn.data.maps import MappedPart, make_mapped
from tritoncnn.data.mask_files import VOID, Classes, Ids, find_classes, read_mask, tell_lossy
from tritoncnn.data.paired import MASKS, ON_DISK, Pair, find_pairs, part_pairs, read_pairs
from tritoncnn.data.pictures import read_colour, upright_size
from tritoncnn.data.pieces import PieceReader, check_pieces, mirrored, whole_size
from tritoncnn.data.stream import STREAM, PictureFiles
from tritoncnn.errors import DataError

EACH = 3 * 4 + 8  # bytes of a pixel: three colours, and a class


def load_masks(folder: Path | None, read: Reader, stream: bool = False) -> Dataset:
    """Classes are those of classes.txt, label_colors.txt, class_dict.csv... in the folder, of Cityscapes, or of VOC; without
    these the ids that there are, and background and foreground where all masks are black and white.

    With ``stream`` pictures are left on disk; their masks are in memory. Raises DataError.
    """
    assert folder is not None, "load_data asks for one"
    cut = _cutter(read)
    if stream and isinstance(read, PieceReader):
        raise DataError("masks: --stream is for tasks that see pictures whole; this one cuts them into pieces")
    folder = unwrapped(folder)
    found = find_pairs(folder, MASKS)
    train, test = part_pairs("masks", found)
    classes = find_classes(folder, [pair.beside for pair in (*train, *test)]).counted()
    if stream:
        parts = [_on_disk(pairs, folder, check_fitted("masks", read), classes) for pairs in (train, test)]
    else:
        parts = [_read(pairs, cut, classes) for pairs in (train, test)]
    remarks = (*found.remarks, *tell_lossy("masks", [pair.beside for pair in (*train, *test)], classes))
    data = make_mapped("masks", classes.names, parts[0], parts[1], remarks, colours=classes.colours)
    return replace(data, held_out=found.test is None)


class Cutter(NamedTuple):
    """How the task wants its pictures: whole, scaled to one side; or in their own pixels, cut into pieces.

    cut     (pair, width and height, classes) -> what the net sees of it
    room    pair -> how many bytes that takes
    advice  what helps where they do not fit into memory
    """

    cut: Callable[[Pair, tuple[int, int], Classes], list[tuple[Array, Ids]]]
    room: Callable[[Pair], int]
    advice: str = ""


def _cutter(read: Reader) -> Cutter:
    """Raises DataError where the task wants its pictures in another way."""

    def scaled(pair: Pair, shape: tuple[int, int], classes: Classes) -> list[tuple[Array, Ids]]:
        fit = check_fitted("masks", read)
        return [(fit.fit(read_colour(pair.picture), shape), fit_mask(read_mask(pair.beside, classes), fit.size))]

    def pieces(pair: Pair, shape: tuple[int, int], classes: Classes) -> list[tuple[Array, Ids]]:
        side, size = check_pieces("masks", read).size, whole_size(*shape)
        picture = to_array(read_colour(pair.picture).resize(size, Image.Resampling.BOX))
        mask = np.asarray(Image.fromarray(read_mask(pair.beside, classes)).resize(size, Image.Resampling.NEAREST))
        more = [(0, -length % side) for length in mask.shape]
        picture, mask = mirrored(picture, side), np.pad(mask, more, constant_values=VOID)
        corners = [(i, j) for i in range(0, mask.shape[0], side) for j in range(0, mask.shape[1], side)]
        return [(picture[:, i : i + side, j : j + side], mask[i : i + side, j : j + side]) for i, j in corners]

    if isinstance(read, PieceReader):
        side = read.size
        return Cutter(pieces, lambda pair: EACH * prod(s + -s % side for s in whole_size(*upright_size(pair.picture))))
    room = EACH * check_fitted("masks", read).size ** 2
    return Cutter(scaled, lambda pair: room, ON_DISK)


def _read(pairs: Sequence[Pair], cut: Cutter, classes: Classes) -> MappedPart:
    read = read_pairs(
        "masks", pairs, MASKS, lambda pair, shape: cut.cut(pair, shape, classes), cut.room(pairs[0]), cut.advice
    )
    rows = [row for some in read for row in some]
    return MappedPart(np.stack([picture for picture, _ in rows]), to_classes(np.stack([mask for _, mask in rows])))


def _on_disk(pairs: Sequence[Pair], folder: Path, fit: FittedReader, classes: Classes) -> MappedPart:
    masks = read_pairs(
        "masks", pairs, MASKS, lambda pair, _: fit_mask(read_mask(pair.beside, classes), fit.size), 8 * fit.size**2
    )
    shape = torch.Size((len(pairs), 3, fit.size, fit.size))
    return MappedPart(
        PictureFiles(tuple(pair.picture for pair in pairs), folder, fit, shape), to_classes(np.stack(masks))
    )


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
    (STREAM,),
)
