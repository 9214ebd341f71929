"""What a data set is: examples in memory, ready for batches, and what inference must know of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tritoncnn.errors import DataError, InputError
from tritoncnn.flags import Row
from tritoncnn.tree import apply

Array = NDArray[np.float32]
Labels = NDArray[np.int64]
Colour = tuple[int, int, int]
Reader = Callable[[Path], Array]  # a file -> f32[C,H,W] in [0, 1], as a task wants its pictures

TOLD = 12  # classes whose numbers of pictures are told
HELD_OUT = 0.2  # usual share of each class that is kept for testing where the data set has no test part of its own


@dataclass(frozen=True)
class Facts:
    """What a model must know of its data to be built and fed again.

    classes    names of the outputs, where there are such
    mean, std  of each channel of the training pictures; none where inputs are taken as they are
    colours    of the classes, where a data set has such: answers that are masks are written in them
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    colours: tuple[Colour, ...] = ()

    def note(self) -> dict[str, Any]:
        found: dict[str, Any] = {"classes": list(self.classes), "mean": list(self.mean), "std": list(self.std)}
        return found | ({"colours": [list(colour) for colour in self.colours]} if self.colours else {})

    @classmethod
    def from_note(cls, note: Mapping[str, Any]) -> Facts:
        """Facts as config.json keeps them. Raises InputError naming the field."""
        classes = note.get("classes")
        if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
            raise InputError(f"classes must be a list of names; got {classes!r}")
        mean, std = _numbers(note, "mean"), _numbers(note, "std")
        if len(mean) != len(std):
            raise InputError(f"mean and std must have one number per channel; got {len(mean)} and {len(std)}")
        if not all(value > 0 for value in std):
            raise InputError(f"std must be above 0; got {list(std)}")
        return cls(tuple(classes), mean, std, _colours(note, len(classes)))

    def normalise(self, pictures: Array) -> torch.Tensor:
        """f32[N,C,H,W] in [0, 1] -> (pictures - mean) / std, channel by channel. Raises InputError."""
        if not self.mean:
            return torch.from_numpy(np.ascontiguousarray(pictures))
        if pictures.shape[1] != len(self.mean):
            raise InputError(
                f"pictures have {pictures.shape[1]} channels; the run's mean and std have {len(self.mean)}"
            )
        mean, std = self._per_channel()
        return torch.from_numpy(np.ascontiguousarray((pictures - mean) / std))

    def restore(self, x: torch.Tensor) -> Array:
        """What ``normalise`` was given: f32[..., C,H,W] in [0, 1], but for rounding."""
        if not self.mean:
            return x.numpy()
        mean, std = self._per_channel()
        pictures: Array = x.numpy() * std + mean
        return pictures

    def _per_channel(self) -> tuple[Array, Array]:
        mean, std = (np.array(values, np.float32).reshape(-1, 1, 1) for values in (self.mean, self.std))
        return mean, std


def _numbers(note: Mapping[str, Any], name: str) -> tuple[float, ...]:
    values = note.get(name)
    if not isinstance(values, list):
        raise InputError(f"{name} must be a list of numbers; got {values!r}")
    for value in values:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 1e6:
            raise InputError(f"{name} must be a list of numbers; got {value!r} in it")
    return tuple(map(float, values))


def _colours(note: Mapping[str, Any], count: int) -> tuple[Colour, ...]:
    values = note.get("colours", [])
    told = isinstance(values, list) and all(isinstance(value, list) and len(value) == 3 for value in values)
    if not told or not all(type(level) is int and 0 <= level < 256 for value in values for level in value):
        raise InputError(f"colours must be a list of three numbers from 0 to 255 for each class; got {values!r:.80}")
    if values and (len(values) != count or len(set(map(tuple, values))) < count):
        raise InputError(f"colours must be {count} that differ, one for each class; got {len(values)}")
    return tuple((r, g, b) for r, g, b in values)


IGNORED = -1  # the class of a pixel that counts neither for the loss nor for any metric


class Targets(Enum):
    """What targets are, so that a change of the pictures can change them to match.

    CLASSES  i64[N], or shares f32[N,classes]
    BOXES    f32[N,M,5]: a class, -1 for no box, less for a crowd or what is marked as difficult, then x0, y0, x1, y1 in
             shares of the picture's side
    MAPS     a tree of [N,H,W] or [N,any,H,W] with something for each pixel: classes i64, IGNORED where none is known, or
             numbers f32, 0 where none is known
    COLOURS  MAPS among which are the picture's own colours, as without its noise: other light leaves them wrong
    OTHER    anything else: only changes that leave all things in their places leave it right
    """

    CLASSES = "classes"
    BOXES = "boxes"
    MAPS = "maps"
    COLOURS = "colours"
    OTHER = "targets"

    @property
    def mapped(self) -> bool:
        """Whether there is something for each pixel."""
        return self in (Targets.MAPS, Targets.COLOURS)


@dataclass(frozen=True)
class Examples:
    """Inputs and targets, the i-th of one for the i-th of the other; targets may be a tree of tensors.

    Of a data set that stays on disk, x is no tensor but gives one for ``x[rows]``: see ``stream.py``.
    ``beside`` is a tree of tensors with a row for each example too, or None: what no step learns, but ``eval`` reports by.
    """

    x: torch.Tensor
    y: Any
    beside: Any = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: torch.Tensor | slice) -> Examples:
        return self.of(self.x[rows], lambda values: values[rows])

    def of(self, x: torch.Tensor, rows: Callable[[torch.Tensor], torch.Tensor]) -> Examples:
        """Other inputs, with the ``rows`` of all else that belong to them."""
        return Examples(x, apply(rows, self.y), apply(rows, self.beside))


@dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    fingerprint  SHA-256 of all of it: a run goes on only with the very data it began with
    note         what config.json says of it: how many examples there are
    remarks      sentences for the person who trains: what was left out, and why
    about        how many pictures there are of each class, where there are classes
    held_out     whether the test part was taken out of what came as one
    """

    name: str
    facts: Facts
    train: Examples
    test: Examples
    fingerprint: str
    note: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    about: str = ""
    held_out: bool = False


@dataclass(frozen=True)
class Source:
    """Where a data set comes from: what ``--data NAME`` names.

    about   one line
    folder  what ``--data-dir`` has to be; empty: the data come with a package and take no folder
    load    (the folder or None, the task's reader of pictures) -> the data set; raises DataError
    options  further rows of the table of flags, of which ``load`` takes the values by name
    reader   the task's reader -> the one that the pictures of this data set, and of its runs, are read by
    """

    name: str
    about: str
    folder: str
    load: Callable[..., Dataset]
    options: tuple[Row, ...] = ()
    reader: Callable[[Reader], Reader] = lambda read: read


@dataclass(frozen=True)
class Part:
    """Pictures f32[N,C,H,W] in [0, 1] with labels i64[N]."""

    pictures: Array
    labels: NDArray[np.int64]


def facts_of(name: str, classes: Sequence[str], pictures: Array) -> Facts:
    """Mean and deviation of each channel of training pictures f32[N,C,H,W]. Raises DataError where they are all blank."""
    channels = [pictures[:, c] for c in range(pictures.shape[1])]
    mean, std = (
        tuple(round(float(measure(channel, dtype=np.float64)), 4) for channel in channels)
        for measure in (np.mean, np.std)
    )
    if not all(std):
        raise DataError(f"{name}: the training pictures are all blank")
    return Facts(tuple(classes), mean, std)


def make_labelled(
    name: str,
    classes: Sequence[str],
    train: Part,
    test: Part,
    remarks: tuple[str, ...] = (),
    more: Mapping[str, Any] | None = None,
) -> Dataset:
    """Normalise pictures by mean and deviation of the training part; ``more`` is for config.json.

    Raises DataError when there is nothing to learn.
    """
    check_labels(name, classes, train.labels, test.labels)
    facts = facts_of(name, classes, train.pictures)
    digest = hashlib.sha256(repr(facts.classes).encode())
    parts = []
    for part in (train, test):
        parts.append(Examples(facts.normalise(part.pictures), torch.from_numpy(part.labels)))
        digest.update(parts[-1].x.numpy().data)
        digest.update(parts[-1].y.numpy().data)
    note, about = note_of(classes, train.labels, test.labels)
    return Dataset(name, facts, parts[0], parts[1], digest.hexdigest(), note | dict(more or {}), remarks, about)


def check_labels(name: str, classes: Sequence[str], train: Labels, test: Labels) -> None:
    """Raise DataError when there is nothing to learn."""
    if len(classes) < 2:
        raise DataError(f"{name}: wanted at least 2 classes; got {len(classes)} ({', '.join(classes) or 'none'})")
    for what, part in (("training", train), ("test", test)):
        if not len(part):
            raise DataError(f"{name}: there are no {what} pictures")
    if not (train != train[0]).any():
        only = classes[int(train[0])]
        raise DataError(f"{name}: all training pictures are of one class, {only!r}; wanted at least 2 classes")


def note_of(classes: Sequence[str], train: Labels, test: Labels) -> tuple[dict[str, Any], str]:
    """How many pictures there are of each class: what config.json says, and a sentence."""
    note: dict[str, Any] = {}
    counts = []
    for what, labels in (("train", train), ("test", test)):
        counts.append(np.bincount(labels, minlength=len(classes)).tolist())
        note |= {f"{what}_pictures": len(labels), f"{what}_pictures_per_class": counts[-1]}
    total = len(train) + len(test)
    words = f"{total} pictures in {len(classes)} classes (training + test): {per_class(classes, *counts)}"
    return note, words


def per_class(names: Sequence[str], train: Sequence[int], test: Sequence[int]) -> str:
    """In words, how many there are of each class in both parts; of many classes the first."""
    words = [f"{name} {a}+{b}" for name, a, b in zip(names, train, test, strict=True)]
    more = f" and {len(words) - TOLD} classes more" if len(words) > TOLD else ""
    return ", ".join(words[:TOLD]) + more


class BlankError(DataError):
    """A picture without anything on it."""


def hold_out(labels: NDArray[np.int64], share: float = HELD_OUT) -> NDArray[np.bool_]:
    """Choose pictures to keep for testing: of each class this share, at least one and not all, drawn with a fixed seed.

    Needs two pictures or more of each class that occurs. The same on every machine and in every run.
    """
    kept = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        order = np.random.RandomState(int(label)).permutation(len(rows))  # frozen by NumPy's policy, unlike Generator
        kept[rows[order[: min(max(1, round(share * len(rows))), len(rows) - 1)]]] = True
    return kept
