"""Boxes in the form of YOLO: a text file for each picture, a line for each box: class, middle x, middle y, width, height; or for
an outline, of which the box is taken: class, x, y, x, y, x, y...

Numbers are shares of the picture's width and height. Source: Redmon's Darknet, and Ultralytics, whose folders these are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from tritoncnn.data.boxed_files import Box, Labelled, load_boxed, number, picture_named
from tritoncnn.data.define import Dataset, Reader, Source
from tritoncnn.data.files import look, read_file, reason
from tritoncnn.data.folder import TEST, TRAIN, files_in, unwrapped
from tritoncnn.data.pictures import SUFFIXES
from tritoncnn.data.stream import STREAM
from tritoncnn.errors import DataError

MAX_TEXT = 4_000_000  # bytes of a file of labels or names
MOST_CLASSES = 10_000
YAML = ("data.yaml", "dataset.yaml", "data.yml")
FORM = (
    "images/train, images/val, labels/train, labels/val, or train/images, train/labels and so on, or images and labels; "
    "names of the classes are in data.yaml or classes.txt"
)


def load_yolo(folder: Path | None, read: Reader, stream: bool = False) -> Dataset:
    """A picture without a text file has no boxes. Without names, classes are called by their numbers. Raises DataError."""
    assert folder is not None, "load_data asks for one"
    folder = unwrapped(folder)
    train, test = _places(folder)
    rows = [_read(*place) for place in (train, test) if place is not None]
    names = _names(folder)
    highest = max((box[0] for part in rows for row in part for box in row.boxes), default=-1)
    if names is None:
        names = [str(label) for label in range(highest + 1)]
    for row in (row for part in rows for row in part):
        for box in row.boxes:
            if box[0] >= len(names):
                raise DataError(f"{row.where}: class {box[0]} is out of range; wanted 0 to {len(names) - 1}")
    if not names:
        raise DataError(f"{folder}: no file of labels has a box; wanted at least 1")
    return load_boxed(
        "yolo", names, rows[0], rows[1] if len(rows) > 1 else None, read, stream=folder if stream else None
    )


Place = tuple[Path, Path]  # folder of pictures, folder of labels


def _places(folder: Path) -> tuple[Place, Place | None]:
    """The parts that data.yaml names by folders of pictures, as images/train2017, else those with the usual names.

    Folders are looked for within the data set, wherever that is now: what leads out of it in front of them is left out.
    Raises DataError, also where a part that data.yaml names is not found and no other is.
    """
    path = _yaml(folder)
    whole = _parsed(path) if path is not None else None
    words = [whole.get(name) for name in ("train", "val")] if isinstance(whole, Mapping) else [None, None]
    first, second = (_within(folder, word) if isinstance(word, str) else None for word in words)
    if first is not None and second is not None:
        return first, second if first != second else None  # coco128 names one folder twice
    usual = _usual(folder, years=not any(words))
    if usual[1] is None and words[0] and words[1]:
        lost = words[0 if first is None else 1]
        raise DataError(f"{path} names the part {lost!r:.80}; in {folder} that is no folder of pictures within images")
    return usual


def _within(folder: Path, word: str) -> Place | None:
    """(pictures, labels) for images/train or train/images, as Ultralytics finds them: the last folder images becomes labels."""
    parts = [part for part in PurePosixPath(word.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    for first in range(len(parts)):
        own = parts[first:]
        images = folder.joinpath(*own)
        if look(images) == "folder" and "images" in own:
            last = len(own) - 1 - own[::-1].index("images")
            return images, folder.joinpath(*own[:last], "labels", *own[last + 1 :])
    return None


def _usual(folder: Path, years: bool) -> tuple[Place, Place | None]:
    """``years``: folders may be called train2017 as well."""

    def pair(part: str) -> Place | None:
        more = [name for name in _inner(folder / "images") if years and re.fullmatch(f"{part}[0-9]+", name)]
        for name in (part, *more):
            for images, labels in (
                (folder / "images" / name, folder / "labels" / name),
                (folder / name / "images", folder / name / "labels"),
            ):
                if look(images) == "folder":
                    return images, labels
        return None

    train = next(filter(None, map(pair, TRAIN)), None)
    test = next(filter(None, map(pair, TEST)), None)
    if train is not None:
        return train, test
    if look(folder / "images") != "folder" or look(folder / "labels") != "folder":
        raise DataError(f"--data-dir {folder} must hold {FORM}")
    return (folder / "images", folder / "labels"), None


def _inner(folder: Path) -> list[str]:
    """The folders in a folder, if there is such."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if look(folder) == "folder" else []


def _read(images: Path, labels: Path) -> list[Labelled]:
    if look(labels) != "folder":
        raise DataError(f"folder {labels} does not exist: it should hold the boxes of the pictures in {images}")
    pictures = [path for path in files_in(images) if path.suffix.lower() in SUFFIXES]
    if not pictures:
        raise DataError(f"folder {images} holds no picture ({', '.join(SUFFIXES)})")
    rows, used = [], set()
    for path in pictures:
        text = labels / path.relative_to(images).with_suffix(".txt")
        used.add(text)
        rows.append(Labelled(path, str(text), read_labels(text) if look(text) != "none" else [], shares=True))
    for text in files_in(labels):
        if text.suffix == ".txt" and text not in used and text.name != "classes.txt":
            assert picture_named(text.stem, [images / text.relative_to(labels).parent]) is None, "it would be used"
            raise DataError(f"{text} has no picture: there is no {images / text.relative_to(labels).with_suffix('')}.*")
    return rows


def read_labels(path: Path) -> list[Box]:
    """Raises DataError naming the line."""
    boxes: list[Box] = []
    for line_number, line in enumerate(_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
            raise DataError(
                f"{path}, line {line_number}: wanted 5 numbers (class, middle x, middle y, width, height), or a class and 3 "
                f"points or more of an outline; got {len(words)}"
            )
        label, *places = (_value(word, path, line_number) for word in words)
        if label != int(label) or not 0 <= label < MOST_CLASSES:
            raise DataError(
                f"{path}, line {line_number}: the class must be a whole number from 0 to {MOST_CLASSES - 1}; got {words[0]:.40}"
            )
        if len(places) > 4:
            boxes.append((int(label), min(places[::2]), min(places[1::2]), max(places[::2]), max(places[1::2])))
        else:
            x, y, w, h = places
            boxes.append((int(label), x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    return boxes


def _value(word: str, path: Path, line_number: int) -> float:
    try:
        value: object = float(word)
    except ValueError:
        value = word
    return number(value, lambda: f"{path}, line {line_number}: each word")


def _text(path: Path) -> str:
    try:
        return read_file(path, "", MAX_TEXT).decode("utf-8-sig")  # some editors begin a text with a mark
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text") from error


def _names(folder: Path) -> list[str] | None:
    """Names of the classes by number; None where no file has them."""
    if (file := _yaml(folder)) is not None:
        return _from_yaml(file)
    for path in (folder / "classes.txt", folder / "labels" / "classes.txt"):
        if look(path) == "file":
            return [line.strip() for line in _text(path).splitlines() if line.strip()]
    return None


def _yaml(folder: Path) -> Path | None:
    return next((folder / name for name in YAML if look(folder / name) == "file"), None)


def _parsed(path: Path) -> Any:
    import yaml  # late: most data sets have none

    try:
        return yaml.safe_load(_text(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f"{path} is not YAML: {' '.join(reason(error).split())[:120]}") from error


def _from_yaml(path: Path) -> list[str]:
    whole = _parsed(path)
    names = whole.get("names") if isinstance(whole, Mapping) else None
    if isinstance(names, Mapping):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DataError(f"{path}: names must have the numbers 0 to {len(names) - 1}")
        names = [names[label] for label in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, (str, int)) for name in names):
        raise DataError(f"{path} must have names: a list of the classes, or numbers with names")
    return [str(name) for name in names]


yolo = Source("yolo", "pictures with boxes in the form of YOLO", f"a folder with {FORM}", load_yolo, (STREAM,))
