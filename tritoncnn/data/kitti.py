"""KITTI's 3D object data: velodyne/*.bin, label_2/*.txt, calib/*.txt of each frame. Cars only; vans count neither way.

Labels are in the frame of a camera (x right, y down, z ahead) and tell of what that camera sees; boxes are brought into the
lidar's frame, and points outside the camera's view are left out, for what stands there has no label.

Source: Geiger, Lenz & Urtasun 2012, "Are we ready for autonomous driving?", and the development kit that came with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.boxed_scans import Scene, make_boxed_scans
from tritoncnn.data.define import Array, Dataset, Source, hold_out
from tritoncnn.data.files import check_memory, look, read_file
from tritoncnn.data.lists import check_apart
from tritoncnn.data.scan import POINT, ScanReader, check_scans, read_scan
from tritoncnn.errors import DataError

PARTS = {"velodyne": ".bin", "label_2": ".txt", "calib": ".txt"}
LEARNED = "Car"
ALIKE = "Van"  # what is taken for a car there is no mistake, as in the development kit
OTHERS = ("Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", "DontCare")  # left out
REMARK = "of KITTI's classes cars alone are learned; what is found at a van counts neither as right nor as wrong"
FIELDS = 15  # of a line: class, truncation, occlusion, angle, 4 of the picture's box, h, w, l, x, y, z, rotation
MATRICES = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}
SINGULAR = 1e-6  # a determinant below this turns no frame into another
MAX_BYTES = 1 << 20  # of a text file


class Calibration(NamedTuple):
    """From the lidar's frame to that of the rectified camera: camera = turn @ lidar + shift; and P2 f64[3,4] to its picture."""

    turn: NDArray[np.float64]
    shift: NDArray[np.float64]
    picture: NDArray[np.float64]

    def to_lidar(self, camera: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places [...,3]."""
        moved: NDArray[np.float64] = (camera - self.shift) @ np.linalg.inv(self.turn).T
        return moved

    def sees(self, points: Array) -> NDArray[np.bool_]:
        """Which points f32[N,4] are before the camera and between the sides of its picture, as wide as twice its middle."""
        places = points[:, :3] @ self.turn.T + self.shift
        seen = np.concatenate([places, np.ones((len(places), 1))], 1) @ self.picture.T
        middle = self.picture[0, 2] * seen[:, 2]
        inside: NDArray[np.bool_] = (seen[:, 2] > 0) & (np.abs(seen[:, 0] - middle) < middle)
        return inside


def read_calibration(path: Path) -> Calibration:
    """Raises DataError: unreadable, a matrix is missing, has other numbers, or is singular."""
    found = {}
    for number, line in enumerate(_lines(path, "calibration"), 1):
        name, colon, values = line.partition(":")
        if name.strip() in MATRICES and colon:
            shape = MATRICES[name.strip()]
            numbers = _numbers(f"calibration {path}, line {number}", values.split())
            if len(numbers) != math.prod(shape):
                raise DataError(
                    f"calibration {path}, line {number}: {name.strip()} must have {math.prod(shape)} numbers; got {len(numbers)}"
                )
            found[name.strip()] = np.array(numbers).reshape(shape)
    missing = [name for name in MATRICES if name not in found]
    if missing:
        raise DataError(f"calibration {path} lacks {', '.join(missing)}")
    turn = found["R0_rect"] @ found["Tr_velo_to_cam"][:, :3]
    for name, matrix in (("R0_rect", found["R0_rect"]), ("Tr_velo_to_cam", found["Tr_velo_to_cam"][:, :3])):
        if not abs(np.linalg.det(matrix)) > SINGULAR:
            raise DataError(
                f"calibration {path}: {name} must be a rotation; its determinant is {np.linalg.det(matrix):.3g}"
            )
    return Calibration(turn, found["R0_rect"] @ found["Tr_velo_to_cam"][:, 3], found["P2"])


def read_labels(path: Path, calibration: Calibration) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cars and vans of a frame as boxes f64[K,7] in the lidar's frame: x, y, z of the centre, l, w, h, yaw.

    Raises DataError: unreadable, a line with another number of fields, an unknown class, what is no number, a car or van without
    size.
    """
    boxes: dict[str, list[tuple[float, ...]]] = {LEARNED: [], ALIKE: []}
    known = (*boxes, *OTHERS)
    for number, line in enumerate(_lines(path, "labels"), 1):
        words, where = line.split(), f"labels {path}, line {number}"
        if not words:
            continue
        if len(words) != FIELDS:
            raise DataError(f"{where} must have {FIELDS} fields; got {len(words)}")
        if words[0] not in known:
            raise DataError(f"{where}: unknown class {words[0]!r}; known: {', '.join(known)}")
        numbers = _numbers(where, words[1:])
        if words[0] not in boxes:
            continue
        height, width, length, x, y, z, rotation = numbers[7:]
        if min(height, width, length) <= 0:
            raise DataError(f"{where}: height, width and length must be above 0; got {height:g}, {width:g}, {length:g}")
        # The label's place is the middle of the underside; its rotation, about y down, is that of the length away from x.
        centre = calibration.to_lidar(np.array([x, y - height / 2, z]))
        ahead = np.linalg.inv(calibration.turn) @ (math.cos(rotation), 0.0, -math.sin(rotation))
        boxes[words[0]].append((*centre, length, width, height, math.atan2(ahead[1], ahead[0])))
    cars, vans = (np.array(rows, np.float64).reshape(-1, 7) for rows in boxes.values())
    return cars, vans


def _lines(path: Path, what: str) -> list[str]:
    try:
        return read_file(path, what, MAX_BYTES).decode().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{what} {path} cannot be read: it is no text") from error


def _numbers(where: str, words: list[str]) -> list[float]:
    values = []
    for word in words:
        try:
            values.append(float(word))
        except ValueError as error:
            raise DataError(f"{where}: {word!r} is no number") from error
        if not math.isfinite(values[-1]):
            raise DataError(f"{where}: numbers must be finite; got {word}")
    return values


def load_kitti(folder: Path | None, read: ScanReader) -> Dataset:
    """The frames of ImageSets where these are listed, else all, of which a fifth is held out. Raises DataError."""
    assert folder is not None, "load_data asks for one"
    inside = folder / "training"
    place = inside if look(inside) == "folder" else folder
    for part in PARTS:
        if look(place / part) != "folder":
            raise DataError(
                f"--data-dir {folder} must hold {', '.join(PARTS)}, or training with these in it; there is no {part}"
            )
    train, test, held_out = _frames(folder, place)
    count = len(train) + len(test)
    needed = 2 * count * read.points * POINT  # once more while they are put together
    check_memory(needed, f"kitti: {count} scans of {read.points} points")
    data = make_boxed_scans("kitti", _scenes(place, train), _scenes(place, test), read, (REMARK,))
    return replace(data, held_out=held_out)


def _frames(folder: Path, place: Path) -> tuple[list[str], list[str], bool]:
    """(training, testing, whether these were held out here)"""
    sets = [folder / "ImageSets" / name for name in ("train.txt", "val.txt")]
    if all(look(path) == "file" for path in sets):
        train, test = ([line.strip() for line in _lines(path, "frames") if line.strip()] for path in sets)
        check_apart(sets, train, test)
        return train, test, False
    try:
        names = sorted(path.stem for path in (place / "velodyne").iterdir() if path.suffix == PARTS["velodyne"])
    except OSError as error:
        raise DataError(f"folder {place / 'velodyne'} cannot be read: {error.strerror}") from error
    if len(names) < 2:
        raise DataError(f"folder {place / 'velodyne'} must hold 2 scans (*.bin) or more; got {len(names)}")
    held = hold_out(np.zeros(len(names), np.int64))
    train, test = ([name for name, out in zip(names, held, strict=True) if out == part] for part in (False, True))
    return train, test, True


def _scenes(place: Path, names: list[str]) -> Iterator[Scene]:
    for name in names:
        scan, labels, calib = (place / part / f"{name}{suffix}" for part, suffix in PARTS.items())
        calibration, points = read_calibration(calib), read_scan(scan)
        cars, vans = read_labels(labels, calibration)
        yield Scene(points[calibration.sees(points)], cars, f"scan {scan}", vans)


kitti = Source(
    "kitti",
    "KITTI's lidar scans with labelled cars",
    "the folder of KITTI's velodyne, label_2 and calib",
    lambda folder, read: load_kitti(folder, check_scans("kitti", read)),
)
