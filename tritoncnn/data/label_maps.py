"""Label maps with the photographs that belong to them: a data set made of both, and the reader of a map."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data.colour import ColourReader
from tritoncnn.data.define import IGNORED, Array, Colour, Dataset, Examples, Facts, Reader
from tritoncnn.data.maps import never_shown, shares_of
from tritoncnn.data.mask_files import RUN, VOID, Classes, Ids, classes_of, read_mask
from tritoncnn.errors import DataError

WHITE = (255, 255, 255)  # of pixels without a label in maps that tell labels by colours, unless it is a label's


@dataclass(frozen=True)
class MapReader(ColourReader):
    """A file of ids (a grey or palette PNG) -> f32[size,size], the number of each pixel's label, -1 where it has none.

    classes  the labels that a model knows; of a map for training these are told otherwise. Raises DataError.
    colours  of these, where its maps were told by colours: then other ones are, too

    Ids are their places, unless the file's name says otherwise, as that of Cityscapes' *_labelIds.png does, or a model of two
    labels is given a map in black and white alone.
    """

    classes: tuple[str, ...] = ()
    colours: tuple[Colour, ...] = ()

    def __call__(self, path: Path) -> Array:
        return numbers(fit_map(self.ids(path), self.size))

    def ids(self, path: Path) -> Ids:
        """The label of each pixel, u8[H,W], VOID where it has none. Raises DataError."""
        named = classes_of(path)
        same = named is not None and named.names == self.classes and not self.colours
        void = (WHITE,) if self.colours and WHITE not in self.colours else ()
        known = named if same else Classes(self.classes, RUN, self.colours, void) if self.classes else None
        two = known is not None and len(known.names) == 2 and not self.colours
        if known is not None and two and set(np.unique(read_mask(path, None))) == {0, VOID}:
            known = known.black_and_white()
        return read_mask(path, known)

    def of(self, facts: Facts) -> MapReader:
        return MapReader(self.size, facts.classes, facts.colours)


def check_maps(name: str, read: Reader) -> MapReader:
    """``read`` as a reader of label maps, for data set ``name``. Raises DataError where the task wants other inputs."""
    if not isinstance(read, MapReader):
        raise DataError(f"data set {name!r} holds label maps; the task reads its pictures in another way")
    return read


def fit_map(ids: Ids, side: int) -> Ids:
    """The middle square of a map u8[H,W], scaled: each pixel the nearest."""
    H, W = ids.shape
    least = min(H, W)
    left, top = (W - least) // 2, (H - least) // 2
    box = (left, top, left + least, top + least)
    return np.asarray(Image.fromarray(ids).resize((side, side), Image.Resampling.NEAREST, box=box))


def numbers(ids: Ids) -> Array:
    """u8 with VOID -> f32 with IGNORED"""
    return np.where(ids == VOID, np.float32(IGNORED), ids.astype(np.float32))


@dataclass(frozen=True)
class Scenes:
    """Label maps u8[N,H,W], VOID where there is no label, and their photographs f32[N,3,H,W] in [0, 1]."""

    maps: Ids
    pictures: Array


def make_scenes(
    name: str, labels: Sequence[str], train: Scenes, test: Scenes, remarks: tuple[str, ...] = (),
    colours: tuple[Colour, ...] = (),
) -> Dataset:  # fmt: skip
    """Maps as inputs, photographs as targets; both as they are. ``colours`` are the labels', where they were told by these."""
    digest = hashlib.sha256(repr(tuple(labels)).encode())
    parts = []
    for part in (train, test):
        parts.append(Examples(torch.from_numpy(numbers(part.maps)), torch.from_numpy(part.pictures)))
        digest.update(parts[-1].x.numpy().data)
        digest.update(parts[-1].y.numpy().data)
    note = {"train_pictures": len(train.maps), "test_pictures": len(test.maps)}
    about = (
        f"{len(train.maps)} + {len(test.maps)} maps of {len(labels)} labels with their photographs (training + test)"
    )
    facts = Facts(tuple(labels), (), (), colours)
    missing = never_shown(name, labels, shares_of(train.maps, VOID, len(labels)))
    return Dataset(name, facts, parts[0], parts[1], digest.hexdigest(), note, (*remarks, *missing), about)


def stack(rows: Sequence[tuple[NDArray[np.uint8], Array]]) -> Scenes:
    return Scenes(np.stack([ids for ids, _ in rows]), np.stack([picture for _, picture in rows]))
