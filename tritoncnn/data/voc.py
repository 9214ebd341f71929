"""Boxes in the form of Pascal VOC: an XML file for each picture.

Source: Everingham et al. 2010, "The Pascal visual object classes challenge". Its pixels are counted from 1, and a box holds its
last ones: a box from 1 to 10 is ten pixels wide.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from tritoncnn.data.boxed_files import Box, Labelled, first_file, inside, load_boxed, number, picture_named
from tritoncnn.data.define import Dataset, Reader, Source
from tritoncnn.data.files import look, read_file
from tritoncnn.data.folder import files_in
from tritoncnn.data.stream import STREAM
from tritoncnn.errors import DataError

MAX_XML = 4_000_000  # bytes
DEPTH = 32  # elements within elements
PARTS = (("train", "val"), ("trainval", "test"))  # lists of ImageSets/Main that are used together
FORM = (
    "Annotations and JPEGImages, perhaps with ImageSets/Main/train.txt and val.txt, or XML files beside their pictures"
)


def load_voc(folder: Path | None, read: Reader, stream: bool = False) -> Dataset:
    """Classes are the names in the XML files in the order of the alphabet; objects marked as difficult count as all others.

    Where ImageSets/Main has train.txt and val.txt, or trainval.txt and test.txt, these are the parts. Raises DataError.
    """
    assert folder is not None, "load_data asks for one"
    inner = folder / "Annotations"
    place = inner if look(inner) == "folder" else folder
    files = [path for path in files_in(place) if path.suffix.lower() == ".xml"]
    if not files:
        raise DataError(f"--data-dir {folder} must hold {FORM}; got no XML file")
    parts = _lists(folder, {path.stem: path for path in files}) or [files]
    told = [[(path, *_read(path, folder)) for path in part] for part in parts]
    classes = sorted({name for _, _, objects, _ in told[0] for name, *_ in objects})
    if not classes:
        raise DataError(f"{place}: no XML file of the training part has an object; wanted at least 1")
    rows = [[_labelled(*row, classes) for row in part] for part in told]
    return load_boxed(
        "voc", classes, rows[0], rows[1] if len(rows) > 1 else None, read, stream=folder if stream else None
    )


def _lists(folder: Path, files: dict[str, Path]) -> list[list[Path]] | None:
    """The XML files of the training part and of the test part; None where no lists name them."""
    place = folder / "ImageSets" / "Main"
    for names in PARTS:
        paths = [place / f"{name}.txt" for name in names]
        if all(look(path) == "file" for path in paths):
            return [_listed(path, files) for path in paths]
    return None


def _listed(path: Path, files: dict[str, Path]) -> list[Path]:
    words = [line.split() for line in read_file(path, "", MAX_XML).decode("utf-8", "replace").splitlines()]
    stems = [word[0] for word in words if word]
    for stem in stems:
        if stem not in files:
            raise DataError(f"{path} names {stem!r:.80}, of which there is no XML file")
    return [files[stem] for stem in stems]


Named = tuple[str, float, float, float, float]


def _read(path: Path, folder: Path) -> tuple[Path, list[Named], tuple[int, int] | None]:
    """(where its picture is, its objects, width and height as it tells them)"""
    root = parse_xml(path)
    if root.tag != "annotation":
        raise DataError(f"{path} must hold an element 'annotation'; got {root.tag!r:.60}")
    folders = [folder / "JPEGImages", folder / "images", path.parent]
    picture = picture_named(path.stem, folders)
    if picture is None:
        said = root.findtext("filename")
        file = inside(said.strip() if said else f"{path.stem}.jpg", f"{path}: filename").name
        picture = first_file([place / file for place in folders])
    objects: list[Named] = []
    for number_, item in enumerate(root.iter("object"), 1):
        name, box = (item.findtext("name") or "").strip(), item.find("bndbox")
        if not name:
            raise DataError(f"{path}: object {number_} has no name")
        if box is None:
            raise DataError(f"{path}: object {number_} has no bndbox")
        x0, y0, x1, y1 = (_value(path, box, side, number_) for side in ("xmin", "ymin", "xmax", "ymax"))
        objects.append((name, x0 - 1, y0 - 1, x1, y1))
    size = root.find("size")
    if size is None:
        return picture, objects, None
    width, height = (int(_value(path, size, side, 0)) for side in ("width", "height"))
    return picture, objects, (width, height) if width and height else None  # some programs write 0 for unknown


def _value(path: Path, parent: Element, name: str, object_number: int) -> float:
    text = parent.findtext(name)
    try:
        value: object = float(text) if text is not None else None
    except ValueError:
        value = text
    where = f" of object {object_number}" if object_number else ""
    return number(value, lambda: f"{path}: {name}{where}")


def _labelled(
    path: Path, picture: Path, objects: list[Named], size: tuple[int, int] | None, classes: list[str]
) -> Labelled:
    boxes: list[Box] = []
    for name, *box in objects:
        if name not in classes:
            raise DataError(f"{path}: the class {name!r:.60} is not in the training part")
        x0, y0, x1, y1 = box
        boxes.append((classes.index(name), x0, y0, x1, y1))
    return Labelled(picture, str(path), boxes, False, size)


def parse_xml(path: Path) -> Element:
    """Raises DataError: no XML, too large, too deep, or with a document type, whose entities might be anything."""
    builder, parser = TreeBuilder(), expat.ParserCreate()
    depth = 0

    def refuse(*_: object) -> NoReturn:
        raise DataError(f"{path} has a document type (<!DOCTYPE ...>), which is not read; take it out")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEPTH:
            raise DataError(f"{path} has elements {depth} deep; wanted at most {DEPTH}")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    data = read_file(path, "", MAX_XML)
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not XML: {error}") from error
    return builder.close()


voc = Source("voc", "pictures with boxes in the form of Pascal VOC", f"a folder with {FORM}", load_voc, (STREAM,))
