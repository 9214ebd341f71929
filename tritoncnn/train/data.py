"""Data sets: pictures and labels in memory, ready for batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tritoncnn.errors import DataError

HELD_OUT = 0.2  # share of each class that is kept for testing where the data set has no test part of its own


@dataclass(frozen=True)
class Part:
    """Pictures in [0, 1], light ink on dark ground, f32[N,H,W], with labels i64[N]."""

    pictures: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Normalised pictures f32[N,1,H,W] = (grey - mean) / std, and labels i64[N] counting ``classes``.

    ``fingerprint`` is the SHA-256 of all of it: a run goes on only with the very data it began with.
    """

    name: str
    classes: tuple[str, ...]
    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor
    mean: float
    std: float
    fingerprint: str


def make_dataset(name: str, classes: Sequence[str], train: Part, test: Part) -> Dataset:
    """Mean and deviation come from the training part. Raises DataError when there is nothing to learn from."""
    if len(classes) < 2:
        raise DataError(f"{name}: wanted at least 2 classes; got {len(classes)} ({', '.join(classes) or 'none'})")
    for what, part in (("training", train), ("test", test)):
        if not len(part.labels):
            raise DataError(f"{name}: there are no {what} pictures")
    mean = round(float(train.pictures.mean(dtype=np.float64)), 4)
    std = round(float(train.pictures.std(dtype=np.float64)), 4)
    if std == 0:
        raise DataError(f"{name}: the training pictures are all blank")
    digest = hashlib.sha256(repr(tuple(classes)).encode())
    tensors = []
    for part in (train, test):
        x = normalise(part.pictures, mean, std)
        y = torch.from_numpy(part.labels)
        digest.update(x.numpy().data)
        digest.update(y.numpy().data)
        tensors += [x, y]
    train_x, train_y, test_x, test_y = tensors
    return Dataset(name, tuple(classes), train_x, train_y, test_x, test_y, mean, std, digest.hexdigest())


def normalise(pictures: NDArray[np.float32], mean: float, std: float) -> torch.Tensor:
    """f32[N,H,W] in [0, 1] -> f32[N,1,H,W] = (pictures - mean) / std."""
    return torch.from_numpy((pictures - np.float32(mean)) / np.float32(std)).unsqueeze(1)


def hold_out(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pictures to keep for testing: of each class every fifth, at least one, drawn with a fixed seed.

    Needs two pictures or more of each class that occurs. The same on every machine and in every run.
    """
    kept = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        order = np.random.RandomState(int(label)).permutation(len(rows))  # frozen by NumPy's policy, unlike Generator
        kept[rows[order[: max(1, round(HELD_OUT * len(rows)))]]] = True
    return kept


def load_data(name: str, folder: Path | None) -> Dataset:
    """The data set called ``name``. Raises DataError."""
    if name not in DATA:
        raise DataError(f"unknown data set {name!r}; known: {', '.join(DATA)}")
    if name == "digits":
        if folder is not None:
            raise DataError(
                "data set 'digits' comes with scikit-learn and takes no --data-dir; did you mean --data mnist?"
            )
        from tritoncnn.train.digits import load_digits  # late: scikit-learn takes a second

        return load_digits()
    if folder is None:
        raise DataError(f"data set {name!r} needs --data-dir, {DATA[name]}")
    if not folder.is_dir():
        raise DataError(f"--data-dir {folder} {'is not a folder' if folder.exists() else 'does not exist'}")
    if name == "mnist":
        from tritoncnn.train.mnist import load_mnist

        return load_mnist(folder)
    from tritoncnn.train.folders import load_folder

    return load_folder(folder)


DATA = {
    "digits": "scikit-learn's 1,797 scanned digits",
    "mnist": "the folder of the four IDX files, plain or .gz",
    "folder": "a folder that holds one folder of pictures for each class",
}
