"""A folder that holds one folder of pictures for each class, whole or already parted for training and testing."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.define import (
    HELD_OUT,
    Array,
    BlankError,
    Dataset,
    Labels,
    Part,
    Reader,
    Source,
    make_labelled,
    note_of,
)
from tritoncnn.data.define import hold_out as choose
from tritoncnn.data.files import STREAM_HELPS, check_memory, look, reason
from tritoncnn.data.pictures import SUFFIXES
from tritoncnn.data.stream import SAMPLE, STREAM, blank_among, make_streamed
from tritoncnn.errors import DataError
from tritoncnn.flags import Rule, option

TRAIN = ("train", "training")
TEST = ("val", "valid", "validation", "test", "testing")  # the first that is there is used
COPIES = 3  # of all pictures in memory: as read, stacked, normalised


Key = list[Any]  # of a name


class Listed(NamedTuple):
    """Picture files with the numbers of their classes, in order."""

    paths: list[Path]
    labels: Labels

    def chosen(self, kept: NDArray[np.bool_]) -> Listed:
        return Listed([path for path, keep in zip(self.paths, kept, strict=True) if keep], self.labels[kept])


def load_folder(folder: Path | None, read: Reader, hold_out: float = HELD_OUT, stream: bool = False) -> Dataset:
    """Classes are the sub-folders in the order of their names; the share ``hold_out`` of each class's pictures is for testing.

    Where the folder holds ``train`` and ``val`` (or the like) with class folders in them, these are the parts. A class's
    pictures may lie in folders of its folder. Names that begin with a dot are passed over; other files that are no
    pictures, and blank pictures, are left out and told. With ``stream`` pictures stay on disk until a batch wants them; those
    for testing are all looked at before.

    Raises DataError: no class, a class with too few pictures, a picture that cannot be read.
    """
    assert folder is not None, "load_data asks for one"
    left_out: Counter[str] = Counter()
    remarks: list[str] = []
    root, test_root = _parts(folder, remarks)
    names = [entry.name for entry in _entries(root) if entry.is_dir()]
    if len(names) < 2:
        raise DataError(f"{root} must hold at least 2 folders of pictures, one per class; got {len(names)}")
    beside = [entry for place in (root, test_root) if place for entry in _entries(place) if not entry.is_dir()]
    if pictures := sum(entry.suffix.lower() in SUFFIXES for entry in beside):
        left_out["pictures in no class folder"] = pictures
    if test_root is not None and hold_out != HELD_OUT:
        raise DataError(f"--hold-out {hold_out:g}: {folder} has a test part already, {test_root}; leave it out")
    least = 2 if test_root is None else 1
    train = _list_classes(root, names, left_out, least if stream else 1)  # blank ones are told as they are read
    test = None if test_root is None else _list_tests(test_root, root, names, left_out)
    if stream:
        if test is None:
            kept = choose(train.labels, hold_out)
            train, test = train.chosen(~kept), train.chosen(kept)
        if (blank := blank_among(test.paths, read)).any():
            left_out["blank pictures"] += int(blank.sum())
            test = test.chosen(~blank)
        remarks += [*_told(left_out, folder), f"pictures stay on disk; mean and deviation are those of up to {SAMPLE}"]
        more = {"left_out": dict(left_out)}
        data = make_streamed("folder", folder, names, train, test, read, tuple(remarks), more)
        return replace(data, held_out=test_root is None)
    taken = _read(root, names, train, read, left_out, least)
    if test is None:
        kept = choose(taken.labels, hold_out)
        held = Part(taken.pictures[kept], taken.labels[kept])
        taken = Part(taken.pictures[~kept], taken.labels[~kept])
    else:
        assert test_root is not None
        held = _read(test_root, names, test, read, left_out, least=1)
    remarks += [*_told(left_out, folder), note_of(names, taken.labels, held.labels)[1]]
    data = make_labelled("folder", names, taken, held, tuple(remarks), {"left_out": dict(left_out)})
    return replace(data, held_out=test_root is None)


def _told(left_out: Counter[str], folder: Path) -> list[str]:
    if not left_out:
        return []
    counts = ", ".join(f"{count} {what}" for what, count in left_out.most_common())
    return [f"{sum(left_out.values())} files of {folder} were left out: {counts}"]


def _parts(folder: Path, remarks: list[str]) -> tuple[Path, Path | None]:
    """(where the training classes are, where the test classes are or None)"""
    folders = {entry.name.lower(): entry for entry in _entries(folder) if entry.is_dir()}
    train = next((folders[name] for name in TRAIN if name in folders), None)
    if train is None or not any(entry.is_dir() for entry in _entries(train)):
        return folder, None
    tests = [folders[name] for name in TEST if name in folders and any(e.is_dir() for e in _entries(folders[name]))]
    used = f"{train.name} and {tests[0].name} are used" if tests else f"{train.name} alone is used"
    for unused in [entry for entry in folders.values() if entry != train and entry not in tests[:1]]:
        remarks.append(f"{unused} was left aside: {used}")
    return train, tests[0] if tests else None


def _list_tests(test_root: Path, root: Path, names: Sequence[str], left_out: Counter[str]) -> Listed:
    """The files of a test part, whose classes are some of ``names``, with the numbers that these have."""
    test_names = [entry.name for entry in _entries(test_root) if entry.is_dir()]
    if unknown := [name for name in test_names if name not in names]:
        raise DataError(f"{test_root} has the class {unknown[0]!r}, of which {root} has no pictures")
    found = _list_classes(test_root, test_names, left_out, least=1)
    places = np.array([names.index(name) for name in test_names], np.int64)
    return Listed(found.paths, places[found.labels])


def _list_classes(root: Path, names: Sequence[str], left_out: Counter[str], least: int) -> Listed:
    """The picture files of each class, at least ``least`` of it."""
    found: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        before = len(found)
        for path in files_in(root / name):
            if path.suffix.lower() in SUFFIXES:
                found.append(path)
            else:
                left_out[f"{path.suffix.lower()} files" if path.suffix else "files without a suffix"] += 1
        count = len(found) - before
        labels += [label] * count
        _check_count(root / name, count, least)
    if not found:
        raise DataError(f"{root} holds no class folder")
    return Listed(found, np.array(labels, np.int64))


def _check_count(folder: Path, count: int, least: int) -> None:
    if not count:
        raise DataError(f"class folder {folder} is empty: it holds no picture ({', '.join(SUFFIXES)})")
    if count < least:
        raise DataError(f"class folder {folder} holds 1 picture; wanted at least 2, one of them for testing")


def _read(root: Path, names: Sequence[str], listed: Listed, read: Reader, left_out: Counter[str], least: int) -> Part:
    """Read all of them but for blank ones, of which at least ``least`` have to be left of each class that occurs."""
    pictures: list[Array] = []
    labels: list[int] = []
    for path, label in zip(listed.paths, listed.labels.tolist(), strict=True):
        try:
            pictures.append(read(path))
            labels.append(label)
        except BlankError:
            left_out["blank pictures"] += 1
        if len(pictures) == 1:
            count, (_, H, W) = len(listed.paths), pictures[0].shape
            needed = COPIES * count * pictures[0].nbytes
            check_memory(needed, f"{root} holds {count} files, which as pictures of {W} x {H}", STREAM_HELPS)
    for label in np.unique(listed.labels).tolist():
        count, there = labels.count(label), int((listed.labels == label).sum())
        if there > count < least:
            held = f"{there} picture{'' if there == 1 else 's'}, {there - count} of them blank"
            raise DataError(f"class folder {root / names[label]} holds {held}; wanted {least} or more that are not")
        _check_count(root / names[label], count, least)
    return Part(np.stack(pictures), np.array(labels, np.int64))


def _hidden(name: str) -> bool:
    """Whether a name says that a program keeps something of its own there, as macOS does in the ZIP files that it makes."""
    return name.startswith(".") or name == "__MACOSX"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not _hidden(entry.name))
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read: {reason(error)}") from error


def unwrapped(folder: Path) -> Path:
    """The folder itself, or the one in it where that is all it holds, as VOCdevkit holds VOC2012 alone."""
    inner = _entries(folder)
    if (
        len(inner) != 1
        or look(inner[0]) != "folder"
        or not any(look(entry) == "folder" for entry in _entries(inner[0]))
    ):
        return folder
    return unwrapped(inner[0])


def files_in(folder: Path) -> list[Path]:
    """All files in ``folder`` and the folders in it, whose links are not followed, by the order of their paths."""

    def refuse(error: OSError) -> None:
        raise DataError(f"folder {error.filename} cannot be read: {reason(error)}") from error

    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not _hidden(name)]
        found += [Path(place) / name for name in files if not _hidden(name)]
    return sorted(found)


def in_time(path: Path) -> tuple[list[Key], Key]:
    """What frames are sorted by: their folders, then their names; numbers count as such, so that frame10 comes after frame9."""
    *folders, name = map(_key, path.parts)
    return folders, name


def _key(name: str) -> Key:
    """Words and numbers in turns."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"([0-9]+)", name))]


folder = Source(
    "folder", "pictures of your own", "a folder that holds one folder of pictures for each class", load_folder,
    (
        option(
            "hold_out", HELD_OUT, "Share of each class of --data folder that is for testing, where it has no test folder.",
            Rule("above 0 and below 1", lambda value: 0 < value < 1), metavar="SHARE",
        ),
        STREAM,
    ),
)  # fmt: skip
