"""A folder that holds one folder of pictures for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tritoncnn.data.define import Dataset, Part, Reader, Source, hold_out, make_labelled
from tritoncnn.data.pictures import SUFFIXES
from tritoncnn.errors import DataError


def load_folder(folder: Path | None, read: Reader) -> Dataset:
    """Classes are the sub-folders in the order of their names; a fifth of each class's pictures is held out.

    Other files and names that begin with a dot are passed over. Raises DataError: no class, a class with no or one
    picture, a picture that cannot be read.
    """
    assert folder is not None, "load_data asks for one"
    names = [entry.name for entry in _entries(folder) if entry.is_dir()]
    if len(names) < 2:
        raise DataError(f"{folder} must hold at least 2 folders of pictures, one per class; got {len(names)}")
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        found = _pictures(folder / name)
        paths += found
        labels += [label] * len(found)
    pictures = np.stack([read(path) for path in paths])
    rows = np.array(labels, np.int64)
    test = hold_out(rows)
    return make_labelled("folder", names, Part(pictures[~test], rows[~test]), Part(pictures[test], rows[test]))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read: {error.strerror or error}") from error


def _pictures(folder: Path) -> list[Path]:
    found = [entry for entry in _entries(folder) if entry.suffix.lower() in SUFFIXES and entry.is_file()]
    if not found:
        raise DataError(f"class folder {folder} is empty: it holds no picture ({', '.join(SUFFIXES)})")
    if len(found) == 1:
        raise DataError(f"class folder {folder} holds 1 picture; wanted at least 2, one of them for testing")
    return found


folder = Source(
    "folder", "pictures of your own", "a folder that holds one folder of pictures for each class", load_folder
)
