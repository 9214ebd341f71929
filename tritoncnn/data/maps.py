"""Pictures with something for each of their pixels, and a data set made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tritoncnn.data.define import IGNORED, Array, Colour, Dataset, Examples, Facts, facts_of
from tritoncnn.data.stream import PictureFiles, content_of, inputs_of, seen
from tritoncnn.errors import DataError

NAMED = 8  # classes in a remark


@dataclass(frozen=True)
class MappedPart:
    """Pictures f32[N,C,H,W] in [0, 1], in memory or on disk, and of each a map: classes i64[N,H,W], IGNORED where none is known,
    or f32[N,any,H,W].
    """

    pictures: Array | PictureFiles
    maps: NDArray[np.generic]


def make_mapped(
    name: str,
    classes: Sequence[str],
    train: MappedPart,
    test: MappedPart,
    remarks: tuple[str, ...] = (),
    more: Mapping[str, Any] | None = None,
    facts: Facts | None = None,
    colours: tuple[Colour, ...] = (),
) -> Dataset:
    """Normalise pictures by mean and deviation of the training part, or by other ``facts``; ``colours`` are the classes'.

    Raises DataError when there is nothing to learn.
    """
    for what, part in (("training", train), ("test", test)):
        if not len(part.pictures):
            raise DataError(f"{name}: there are no {what} pictures")
    facts = facts or replace(facts_of(name, classes, seen(train.pictures)), colours=colours)
    digest = hashlib.sha256(repr(facts.classes).encode())
    note: dict[str, Any] = {}
    parts, shares = [], []
    for what, word, part in (("train", "training", train), ("test", "test", test)):
        maps = torch.from_numpy(np.ascontiguousarray(part.maps))
        parts.append(Examples(inputs_of(part.pictures, facts), maps))
        for piece in content_of(parts[-1].x):
            digest.update(piece)
        digest.update(maps.numpy().data)
        note[f"{what}_pictures"] = len(part.pictures)
        if classes:
            shares.append(shares_of(part.maps, IGNORED, len(classes)))
            if not any(shares[-1]):
                raise DataError(f"{name}: no pixel of the {word} pictures counts: all are marked as void")
            note[f"{what}_share_of_pixels_per_class"] = [round(share, 6) for share in shares[-1]]
    about = f"{len(train.pictures)} + {len(test.pictures)} pictures (training + test)"
    if classes:
        told = [f"{label} {share:.1%}" for label, share in zip(classes, shares[0], strict=True)]
        about += f"; of the training pixels: {', '.join(told[:12])}{' ...' if len(told) > 12 else ''}"
        remarks = (*remarks, *never_shown(name, classes, shares[0]))
    return Dataset(name, facts, parts[0], parts[1], digest.hexdigest(), note | dict(more or {}), remarks, about)


def shares_of(maps: NDArray[np.generic], void: int, classes: int) -> list[float]:
    """The share of each class among the pixels that are not ``void``; zeros where none is."""
    counts = np.bincount(maps[maps != void].astype(np.int64), minlength=classes)
    return [float(share) for share in counts / max(1, counts.sum())]


def never_shown(name: str, classes: Sequence[str], shares: Sequence[float]) -> tuple[str, ...]:
    """A remark on the classes that have none of the training pixels; nothing where each has its share."""
    missing = [label for label, share in zip(classes, shares, strict=True) if not share]
    if not missing:
        return ()
    told = f"{', '.join(missing[:NAMED])}{' ...' if len(missing) > NAMED else ''}"
    return (f"{name}: no training pixel is of {len(missing)} of the {len(classes)} classes: {told}",)
