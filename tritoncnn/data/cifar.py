"""CIFAR-10 and CIFAR-100, their binary version and their version for Python.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images", and https://www.cs.toronto.edu/~kriz/cifar.html:
a record of the binary version is the label (of CIFAR-100 the coarse one, then the fine one), then 1024 bytes of red, of green, of
blue, row by row; a file of the other is a pickled dictionary of ``data``, u8[N,3072], and ``labels`` or ``fine_labels``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data.colour import ColourReader, check_colour
from tritoncnn.data.define import Dataset, Part, Reader, Source, make_labelled
from tritoncnn.data.files import check_memory, look, read_file
from tritoncnn.data.pickled import as_bytes, read_pickled
from tritoncnn.errors import DataError

SIDE = 32
VALUES = 3 * SIDE * SIDE
MOST = 1 << 30  # bytes of a file; CIFAR-100's largest has 154 MB
COPIES = 3  # of all pictures in memory: as they are in [0, 1], normalised, and on the way


@dataclass(frozen=True)
class Version:
    """The files of one version. ``skip``: bytes of a record before its label; None where files are pickles."""

    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    skip: int | None


@dataclass(frozen=True)
class Kind:
    """One of the two data sets. ``labels`` and ``names``: what pickles call these."""

    name: str
    classes: int
    labels: str
    names: str
    versions: tuple[Version, Version]


FIVE = tuple(f"data_batch_{number}" for number in range(1, 6))
CIFAR10 = Kind("cifar10", 10, "labels", "label_names", (
    Version("cifar-10-batches-bin", tuple(f"{name}.bin" for name in FIVE), "test_batch.bin", "batches.meta.txt", 0),
    Version("cifar-10-batches-py", FIVE, "test_batch", "batches.meta", None),
))  # fmt: skip
CIFAR100 = Kind("cifar100", 100, "fine_labels", "fine_label_names", (
    Version("cifar-100-binary", ("train.bin",), "test.bin", "fine_label_names.txt", 1),
    Version("cifar-100-python", ("train",), "test", "meta", None),
))  # fmt: skip


def load_cifar(kind: Kind, folder: Path | None, read: Reader) -> Dataset:
    """Read either version in ``folder``, or in the folder of its usual name in it. Raises DataError."""
    assert folder is not None, "load_data asks for one"
    reader = check_colour(kind.name, read)
    place, version = _find(kind, folder)
    names = _names(kind, place / version.names, version)
    files = [place / name for name in (*version.train, version.test)]
    for path in files:
        if look(path) == "none":
            raise DataError(f"{kind.name}: {place} lacks the file {path.name}")
    read_part = partial(_read_part, kind, version, reader)
    return make_labelled(kind.name, names, read_part(files[:-1]), read_part(files[-1:]))


def _find(kind: Kind, folder: Path) -> tuple[Path, Version]:
    for version in kind.versions:
        for place in (folder, folder / version.folder):
            if any(look(place / name) == "file" for name in (*version.train, version.test)):
                return place, version
    wanted = " or ".join(f"{version.train[0]} ({version.folder})" for version in kind.versions)
    raise DataError(f"{kind.name}: {folder} holds none of its files, such as {wanted}")


def _names(kind: Kind, path: Path, version: Version) -> Sequence[str]:
    """The names of the classes, their numbers where the file of names is missing. Raises DataError."""
    if look(path) == "none":
        return [str(label) for label in range(kind.classes)]
    if version.skip is None:
        found = read_pickled(path, MOST).get(kind.names)
        names = (
            [n.decode(errors="replace") if isinstance(n, bytes) else n for n in found]
            if isinstance(found, list)
            else []
        )
    else:
        names = [
            line.strip() for line in read_file(path, "", MOST).decode(errors="replace").splitlines() if line.strip()
        ]
    if len(names) != kind.classes or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise DataError(f"{path} must hold {kind.classes} names of classes, no two alike; got {len(names)}")
    return names


def _read_part(kind: Kind, version: Version, reader: ColourReader, files: Sequence[Path]) -> Part:
    found = [_read_pickle(kind, path) if version.skip is None else _read_binary(path, version.skip) for path in files]
    for path, (labels, _) in zip(files, found, strict=True):
        wrong = np.flatnonzero((labels < 0) | (labels >= kind.classes))
        if len(wrong):
            first = int(wrong[0])
            raise DataError(
                f"{path}: label {labels[first]} of picture {first} is out of range; wanted 0 to {kind.classes - 1}"
            )
    labels, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    check_memory(
        COPIES * 4 * len(labels) * 3 * reader.size**2, f"{files[0].parent} holds {len(labels)} pictures, which"
    )
    pictures = values.reshape(-1, 3, SIDE, SIDE)
    if reader.size == SIDE:
        return Part(pictures.astype(np.float32) / np.float32(255), labels)
    return Part(np.stack([reader.fit(Image.fromarray(p.transpose(1, 2, 0))) for p in pictures]), labels)


Records = tuple[NDArray[np.int64], NDArray[np.uint8]]  # labels [N], values [N,3072]


def _read_binary(path: Path, skip: int) -> Records:
    data = np.frombuffer(read_file(path, "", MOST), np.uint8)
    record = skip + 1 + VALUES
    if not len(data) or len(data) % record:
        raise DataError(
            f"{path} is truncated or no CIFAR file: wanted records of {record} bytes; got {len(data)} bytes"
        )
    records = data.reshape(-1, record)
    return records[:, skip].astype(np.int64), records[:, skip + 1 :]


def _read_pickle(kind: Kind, path: Path) -> Records:
    found = read_pickled(path, MOST)
    values, labels = as_bytes(found.get("data")), found.get(kind.labels)
    if values is None or values.ndim != 2 or values.shape[1] != VALUES or not len(values):
        raise DataError(f"{path} must hold 'data', an array of bytes [N, {VALUES}] with N at least 1")
    if not (isinstance(labels, list) and all(type(label) is int and abs(label) < 2**31 for label in labels)):
        raise DataError(f"{path} must hold {kind.labels!r}, a list of whole numbers")
    if len(labels) != len(values):
        raise DataError(f"{path} holds {len(values)} pictures but {len(labels)} labels")
    return np.array(labels, np.int64), values


cifar10 = Source(
    "cifar10",
    "CIFAR-10 in its files",
    "the folder of CIFAR-10's files, binary or for Python",
    partial(load_cifar, CIFAR10),
)
cifar100 = Source(
    "cifar100", "CIFAR-100 in its files", "the folder of CIFAR-100's files, binary or for Python",
    partial(load_cifar, CIFAR100),
)  # fmt: skip
