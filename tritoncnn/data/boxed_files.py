"""Picture files with boxes, as the readers of COCO, VOC and YOLO files hand them over -> a data set."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tritoncnn.data.boxes import MOST, BoxedPart, FittedReader, check_fitted, make_boxed_pictures
from tritoncnn.data.define import HELD_OUT, Array, Dataset, Reader
from tritoncnn.data.files import STREAM_HELPS, check_memory, look
from tritoncnn.data.pictures import SUFFIXES, read_colour, upright_size
from tritoncnn.data.stream import PictureFiles
from tritoncnn.errors import DataError

BEYOND = 0.01  # of a picture's longer side, or a pixel of it: so far a box may lie outside. Edges are rounded, counted from 1...
FEW_EMPTY = 0.001  # boxes without area that are left out and told; where there are more, the files are wrong
COPIES = 3  # of all pictures in memory: as read, stacked, normalised
SHOWN_MISSING = 3

Box = tuple[int, float, float, float, float]  # class, or what stands for a crowd or a difficult one, x0, y0, x1, y1


class Labelled(NamedTuple):
    """A picture file and its boxes, which are in its pixels, or ``shares`` of its width and height.

    where  the file that tells of the boxes, for messages
    size   width and height as that file has them, where it does
    areas  of what the boxes are around, in pixels, where that is less than the box; None: that of the box
    """

    path: Path
    where: str
    boxes: Sequence[Box]
    shares: bool = False
    size: tuple[int, int] | None = None
    areas: Sequence[float | None] | None = None


def load_boxed(
    name: str,
    classes: Sequence[str],
    train: Sequence[Labelled],
    test: Sequence[Labelled] | None,
    read: Reader,
    remarks: Sequence[str] = (),
    stream: Path | None = None,
) -> Dataset:
    """Read all pictures; with ``stream``, the data set's folder, only how large they are, and the rest when a batch wants it.

    Where there is no test part a fifth of the pictures, drawn with a fixed seed, becomes one.

    Raises DataError: pictures that are missing or cannot be read, boxes that lie outside of their pictures or have no area.
    """
    fit = check_fitted(name, read)
    missing = [row for row in (*train, *(test or ())) if look(row.path) != "file"]
    if missing:
        shown = ", ".join(str(row.path) for row in missing[:SHOWN_MISSING])
        more = f" and {len(missing) - SHOWN_MISSING} more" if len(missing) > SHOWN_MISSING else ""
        raise DataError(f"{missing[0].where} tells of pictures that are not there: {shown}{more}")
    held_out = test is None
    if test is None:
        if len(train) < 2:
            raise DataError(f"{name}: wanted at least 2 pictures, one of them for testing; got {len(train)}")
        order = np.random.RandomState(0).permutation(len(train))
        kept = set(order[: max(1, round(HELD_OUT * len(train)))].tolist())
        test = [row for number, row in enumerate(train) if number in kept]
        train = [row for number, row in enumerate(train) if number not in kept]
    count = len(train) + len(test)
    if stream is None:
        needed = COPIES * count * 12 * fit.size**2
        check_memory(needed, f"{name}: {count} pictures of {fit.size} x {fit.size}", STREAM_HELPS)
    left_out: Counter[str] = Counter()
    parts = [_read(part, fit, left_out, stream) for part in (train, test)]
    told = list(remarks)
    if empty := left_out["empty"]:
        all_boxes = empty + sum(len(boxes) for part in parts for boxes in part.boxes)
        if empty > FEW_EMPTY * all_boxes:
            first = next(where for where in left_out if where != "empty")
            raise DataError(f"{first} has no area; so it is with {empty} of {all_boxes} boxes: take them out")
        told.append(f"{empty} boxes without area were left out")
    return replace(make_boxed_pictures(name, classes, parts[0], parts[1], tuple(told)), held_out=held_out)


def _read(rows: Sequence[Labelled], fit: FittedReader, left_out: Counter[str], stream: Path | None) -> BoxedPart:
    shape = (len(rows), 3, fit.size, fit.size)
    pictures = np.zeros(shape if stream is None else (0,), np.float32)
    boxes, pixels = [], []
    for number, row in enumerate(rows):
        own = upright_size(row.path)
        if row.size is not None and row.size != own:
            told, real = (" x ".join(map(str, size)) for size in (row.size, own))
            turned = ", turned upright by its EXIF tag" if row.size == own[::-1] else ""
            raise DataError(f"{row.where} says that {row.path} is {told}; it is {real}{turned}")
        if len(row.boxes) > MOST:
            raise DataError(f"{row.where} has {len(row.boxes)} boxes for {row.path}; wanted at most {MOST}")
        shares, areas = _shares(row, own, left_out)
        boxes.append(shares)
        pixels.append((max(own), areas))
        if stream is None:
            pictures[number] = fit.fit(read_colour(row.path), own)
    if stream is not None:
        return BoxedPart(PictureFiles(tuple(row.path for row in rows), stream, fit, torch.Size(shape)), boxes, pixels)
    return BoxedPart(pictures, boxes, pixels)


def _shares(row: Labelled, shape: tuple[int, int], left_out: Counter[str]) -> tuple[Array, NDArray[np.float64]]:
    """Boxes f32[any,5] in shares of the longer side, cut at the picture's edges, and areas f64[any] in pixels; boxes without area
    are counted."""
    longer = max(shape)
    scale = np.array([1, *shape, *shape] if row.shares else [1] * 5, np.float64) / np.array([1, *[longer] * 4])
    edge, beyond = np.array([*shape, *shape]) / longer, max(BEYOND, (1 + 1e-9) / longer)
    kept, areas = [], []
    for box, area in zip(row.boxes, row.areas or [None] * len(row.boxes), strict=True):
        values = np.array(box, np.float64) * scale
        said = f"{row.where}: box ({', '.join(f'{value:g}' for value in box[1:])}) of {row.path.name}"
        if not np.isfinite(values).all():
            raise DataError(f"{said} has numbers that are not finite")
        if values[3] < values[1] or values[4] < values[2]:
            raise DataError(f"{said} ends before it begins")
        if (values[1:] < -beyond).any() or (values[1:] > edge + beyond).any():
            raise DataError(f"{said} lies outside of the picture, which is {shape[0]} x {shape[1]}")
        values[1:] = np.clip(values[1:], 0, edge)
        if values[1] < values[3] and values[2] < values[4]:
            kept.append(values)
            areas.append(float(np.prod(values[3:] - values[1:3])) * longer**2 if area is None else area)
        else:
            left_out["empty"] += 1
            left_out[said] += 1
    return np.array(kept, np.float32).reshape(-1, 5), np.array(areas, np.float64)


def number(value: object, said: Callable[[], str]) -> float:
    """A finite number of a file. Raises DataError that begins with what ``said`` says."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9 and math.isfinite(value):
        return float(value)
    raise DataError(f"{said()} must be a number; got {value!r:.60}")


def inside(name: object, said: str) -> PurePosixPath:
    """A file's name within a data set. Raises DataError where it leads out of it."""
    path = PurePosixPath(name.replace("\\", "/")) if isinstance(name, str) else None
    if path is None or path.is_absolute() or ".." in path.parts or not path.name or "\0" in str(path):
        raise DataError(f"{said} must be a path within the data set; got {name!r:.80}")
    return path


def first_file(places: Sequence[Path]) -> Path:
    """The first of these that is a file, else the first."""
    return next((place for place in places if look(place) == "file"), places[0])


def picture_named(stem: str, folders: Sequence[Path]) -> Path | None:
    """The picture file of this stem in the first of these folders that has one."""
    for folder in folders:
        for suffix in (*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES)):
            if look(folder / f"{stem}{suffix}") == "file":
                return folder / f"{stem}{suffix}"
    return None
