"""Boxes in the form of YOLO: a text file for each picture, a line for each box: class, middle x, middle y, width, height.

Numbers are shares of the picture's width and height. Source: Redmon's Darknet, and Ultralytics, whose folders these are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritoncnn.data.boxed_files import Box, Labelled, load_boxed, number, picture_named
from tritoncnn.data.define import Dataset, Reader, Source
from tritoncnn.data.files import look, read_file, reason
from tritoncnn.data.folder import TEST, TRAIN, files_in
from tritoncnn.data.pictures import SUFFIXES
from tritoncnn.data.stream import STREAM
from tritoncnn.errors import DataError

MAX_TEXT = 4_000_000  # bytes of a file of labels or names
MOST_CLASSES = 10_000
FORM = (
    "images/train, images/val, labels/train, labels/val, or train/images, train/labels and so on, or images and labels; "
    "names of the classes are in data.yaml or classes.txt"
)


def load_yolo(folder: Path | None, read: Reader, stream: bool = False) -> Dataset:
    """A picture without a text file has no boxes. Without names, classes are called by their numbers. Raises DataError."""
    assert folder is not None, "load_data asks for one"
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
    def pair(part: str) -> Place | None:
        for images, labels in (
            (folder / "images" / part, folder / "labels" / part),
            (folder / part / "images", folder / part / "labels"),
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
        if len(words) != 5:
            raise DataError(
                f"{path}, line {line_number}: wanted 5 numbers (class, middle x, middle y, width, height); got {len(words)}"
            )
        label, x, y, w, h = (_value(word, path, line_number) for word in words)
        if label != int(label) or not 0 <= label < MOST_CLASSES:
            raise DataError(
                f"{path}, line {line_number}: the class must be a whole number from 0 to {MOST_CLASSES - 1}; got {words[0]:.40}"
            )
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
        return read_file(path, "", MAX_TEXT).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text") from error


def _names(folder: Path) -> list[str] | None:
    """Names of the classes by number; None where no file has them."""
    for file in ("data.yaml", "dataset.yaml", "data.yml"):
        if look(folder / file) == "file":
            return _from_yaml(folder / file)
    for path in (folder / "classes.txt", folder / "labels" / "classes.txt"):
        if look(path) == "file":
            return [line.strip() for line in _text(path).splitlines() if line.strip()]
    return None


def _from_yaml(path: Path) -> list[str]:
    import yaml  # late: most data sets have none

    try:
        whole: Any = yaml.safe_load(_text(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f"{path} is not YAML: {' '.join(reason(error).split())[:120]}") from error
    names = whole.get("names") if isinstance(whole, Mapping) else None
    if isinstance(names, Mapping):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DataError(f"{path}: names must have the numbers 0 to {len(names) - 1}")
        names = [names[label] for label in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, (str, int)) for name in names):
        raise DataError(f"{path} must have names: a list of the classes, or numbers with names")
    return [str(name) for name in names]


yolo = Source("yolo", "pictures with boxes in the form of YOLO", f"a folder with {FORM}", load_yolo, (STREAM,))
