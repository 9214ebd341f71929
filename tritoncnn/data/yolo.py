"""Boxes in the form of YOLO: a text file for each picture, a line for each box: class, middle x, middle y, width, height; or for
an outline, of which the box is taken: class, x, y, x, y, x, y...

Numbers are shares of the picture's width and height. Source: Redmon's Darknet, and Ultralytics, whose folders these are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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
MAX_LIST = 100_000_000  # of a list of pictures; that of COCO 2017 has 4 MB
MOST_CLASSES = 10_000
LIST = ".txt"
YAML = ("data.yaml", "dataset.yaml", "data.yml")
FORM = (
    "images/train, images/val, labels/train, labels/val, or train/images, train/labels and so on, or images and labels; "
    "names of the classes are in data.yaml or classes.txt"
)


def load_yolo(folder: Path | None, read: Reader, stream: bool = False) -> Dataset:
    """A picture without a text file has no boxes. Without names, classes are called by their numbers. Raises DataError."""
    assert folder is not None, "load_data asks for one"
    folder = unwrapped(folder)
    rows = [_read(pairs) for pairs in _parts(folder) if pairs is not None]
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
Pairs = list[tuple[Path, Path]]  # a picture, and the text file that tells its boxes if there is such


def _parts(folder: Path) -> tuple[Pairs, Pairs | None]:
    """The parts that data.yaml names, by a folder of pictures as images/train2017, several of them, or a text file with a picture
    in each line; else those with the usual names.

    All is looked for within the data set, wherever that is now: what leads out of it in front is left out.
    Raises DataError, also where a part that data.yaml names is not found and no other is, or where only one is.
    """
    path = _yaml(folder)
    whole = _parsed(path) if path is not None else None
    words = [whole.get(name) for name in ("train", "val")] if isinstance(whole, Mapping) else [None, None]
    first, second = (_named(folder, word) for word in words)
    if first is not None and second is not None:
        if first == second:  # coco128 names one folder twice
            return first, None
        if both := {picture for picture, _ in first} & {picture for picture, _ in second}:
            raise DataError(f"{path} has {len(both)} pictures in both parts, such as {min(both)}")
        return first, second
    train, test = _usual(folder, years=not any(words))
    lists = [word for word in words if not isinstance(word, str) or word.endswith(LIST)]
    if words[0] and words[1] and (test is None or lists):
        lost = words[0 if first is None else 1]
        raise DataError(
            f"{path} names the part {lost!r:.80}; in {folder} that is no folder of pictures within images, and no list of them"
        )
    return _pairs(*train), _pairs(*test) if test is not None else None


def _named(folder: Path, word: object) -> Pairs | None:
    """What a word of data.yaml names; None where it is not found."""
    if isinstance(word, list):
        found = [_named(folder, part) for part in word]
        return [pair for part in found for pair in part or ()] if found and None not in found else None
    if not isinstance(word, str):
        return None
    if word.endswith(LIST):
        own = next((own for own in _tails(word) if look(folder.joinpath(*own)) == "file"), None)
        return None if own is None else _listed(folder, folder.joinpath(*own))
    own = next((own for own in _tails(word) if "images" in own and look(folder.joinpath(*own)) == "folder"), None)
    return None if own is None else _pairs(folder.joinpath(*own), folder.joinpath(*_beside(own)))


def _listed(folder: Path, path: Path) -> Pairs:
    pairs: Pairs = []
    for line_number, line in enumerate(_text(path, MAX_LIST).splitlines(), 1):
        tails = (own for own in _tails(line.strip()) if "images" in own and look(folder.joinpath(*own)) == "file")
        own = next(tails, None) if line.strip() else None
        if own is not None:
            pairs.append((folder.joinpath(*own), folder.joinpath(*_beside(own)).with_suffix(LIST)))
        elif line.strip():
            raise DataError(f"{path}, line {line_number}: {line.strip()!r:.80} is no picture within images of {folder}")
    if not pairs:
        raise DataError(f"{path} names no picture")
    return pairs


def _tails(word: str) -> Iterator[list[str]]:
    """a/b/c, b/c, c: a path without what leads to the data set."""
    parts = [part for part in PurePosixPath(word.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    yield from (parts[first:] for first in range(len(parts)))


def _beside(own: list[str]) -> list[str]:
    """Where the labels of images/train or train/images are, as Ultralytics finds them: the last folder images becomes labels."""
    last = len(own) - 1 - own[::-1].index("images")
    return [*own[:last], "labels", *own[last + 1 :]]


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


def _pairs(images: Path, labels: Path) -> Pairs:
    """All pictures in a folder. Raises DataError where one of the text files in the other has none."""
    if look(labels) != "folder":
        raise DataError(f"folder {labels} does not exist: it should hold the boxes of the pictures in {images}")
    pictures = [path for path in files_in(images) if path.suffix.lower() in SUFFIXES]
    if not pictures:
        raise DataError(f"folder {images} holds no picture ({', '.join(SUFFIXES)})")
    pairs = [(path, labels / path.relative_to(images).with_suffix(LIST)) for path in pictures]
    used = {text for _, text in pairs}
    for text in files_in(labels):
        if text.suffix == LIST and text not in used and text.name != "classes.txt":
            assert picture_named(text.stem, [images / text.relative_to(labels).parent]) is None, "it would be used"
            raise DataError(f"{text} has no picture: there is no {images / text.relative_to(labels).with_suffix('')}.*")
    return pairs


def _read(pairs: Pairs) -> list[Labelled]:
    return [
        Labelled(picture, str(text), read_labels(text) if look(text) != "none" else [], shares=True)
        for picture, text in pairs
    ]


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


def _text(path: Path, most: int = MAX_TEXT) -> str:
    try:
        return read_file(path, "", most).decode("utf-8-sig")  # some editors begin a text with a mark
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
