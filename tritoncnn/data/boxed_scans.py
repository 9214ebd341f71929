"""Scans with the boxes of what is in them, as a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tritoncnn.data.define import Array, Dataset, Examples, Facts
from tritoncnn.data.scan import ScanReader
from tritoncnn.errors import DataError

NUMBERS = (
    8  # of a row of targets: x, y, z, l, w, h, yaw, and 1 where there is a box, -1 where it counts neither way, else 0
)


class Scene(NamedTuple):
    """Points f32[N,4] and boxes f64[K,7] (x, y, z, l, w, h, yaw) of a scan, its name in sentences, and boxes f64[any,7] of what
    need not be found, and may be."""

    points: Array
    boxes: NDArray[np.float64]
    name: str = "the scan"
    aside: NDArray[np.float64] = np.zeros((0, 7))


def make_boxed_scans(
    name: str, train: Iterable[Scene], test: Iterable[Scene], read: ScanReader, remarks: tuple[str, ...] = ()
) -> Dataset:
    """x f32[scans,points,4], y f32[scans,most boxes of a scan,8]. Boxes whose centre is outside the reader's space are left out,
    which is told.

    Raises DataError where a part has no scan or no box.
    """
    digest, parts, read_parts, outside = hashlib.sha256(b"car"), [], [], 0
    for what, scenes in (("training", train), ("test", test)):
        points, boxes = [], []
        for scene in scenes:
            points.append(read.fit(scene.points, scene.name))
            held = read.holds(scene.boxes)
            boxes.append((scene.boxes[held], scene.aside[read.holds(scene.aside)]))
            outside += int((~held).sum())
        if not points:
            raise DataError(f"{name}: there are no {what} scans")
        if not any(len(cars) for cars, _ in boxes):
            raise DataError(
                f"{name}: no car is in the space that is looked at, in any of the {len(points)} {what} scans"
            )
        read_parts.append((points, boxes))
    room = max(len(cars) + len(aside) for _, boxes in read_parts for cars, aside in boxes)
    for points, boxes in read_parts:
        y = np.zeros((len(boxes), room, NUMBERS), np.float32)
        for row, (cars, aside) in zip(y, boxes, strict=True):
            both = np.concatenate([cars, aside])
            row[: len(both), :7], row[: len(both), 7] = both, -1
            row[: len(cars), 7] = 1
        parts.append(Examples(torch.from_numpy(np.stack(points)), torch.from_numpy(y)))
        for tensor in (parts[-1].x, parts[-1].y):
            digest.update(tensor.numpy().data)
    scans, count = [len(part) for part in parts], [int((part.y[..., 7] > 0).sum()) for part in parts]
    note = {"train_scans": scans[0], "test_scans": scans[1], "train_cars": count[0], "test_cars": count[1]}
    about = f"{scans[0]}+{scans[1]} scans (training + test) with {count[0]}+{count[1]} cars"
    about += f"; {outside} cars outside of the space that is looked at were left out" if outside else ""
    return Dataset(name, Facts(("car",), (), ()), parts[0], parts[1], digest.hexdigest(), note, remarks, about)
