"""Boxes in the form of Pascal VOC: an XML file for each picture.

Source: Everingham et al. 2010, "The Pascal visual object classes challenge". Its pixels are counted from 1, and a box holds its
last ones: a box from 1 to 10 is ten pixels wide.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from tritoncnn.data.boxed_files import Box, Labelled, first_file, inside, load_boxed, number, picture_named
from tritoncnn.data.boxes import difficult_of
from tritoncnn.data.define import Dataset, Reader, Source
from tritoncnn.data.files import look, read_file
from tritoncnn.data.folder import files_in, unwrapped
from tritoncnn.data.lists import check_apart
from tritoncnn.data.stream import STREAM
from tritoncnn.errors import DataError

MAX_XML = 4_000_000  # bytes
DEPTH = 32  # elements within elements
PARTS = (("train", "val"), ("trainval", "test"))  # lists of ImageSets/Main that are used together
FORM = (
    "Annotations and JPEGImages, perhaps with ImageSets/Main/train.txt and val.txt, or XML files beside their pictures"
)


def load_voc(folder: Path | None, read: Reader, stream: bool = False) -> Dataset:
    """Classes are the names in the XML files in the order of the alphabet. Objects marked as difficult are not learned and count
    neither way, which is told.

    Where ImageSets/Main has train.txt and val.txt, or trainval.txt and test.txt, these are the parts. Raises DataError.
    """
    assert folder is not None, "load_data asks for one"
    folder = unwrapped(folder)
    inner = folder / "Annotations"
    place = inner if look(inner) == "folder" else folder
    files = [path for path in files_in(place) if path.suffix.lower() == ".xml"]
    if not files:
        raise DataError(f"--data-dir {folder} must hold {FORM}; got no XML file")
    remarks: list[str] = []
    parts = _lists(folder, {path.stem: path for path in files}, remarks) or [files]
    told = [[_read(path, folder) for path in part] for part in parts]
    classes = sorted({found.name for row in told[0] for found in row.objects})
    if not classes:
        raise DataError(f"{place}: no XML file of the training part has an object; wanted at least 1")
    rows = [[_labelled(row, classes) for row in part] for part in told]
    hard = sum(found.difficult for part in told for row in part for found in row.objects)
    said = "1 object is" if hard == 1 else f"{hard} objects are"
    said += " marked as difficult: not learned; what is found there counts neither as right nor as wrong"
    return load_boxed(
        "voc",
        classes,
        rows[0],
        rows[1] if len(rows) > 1 else None,
        read,
        (*remarks, *([said] if hard else [])),
        folder if stream else None,
    )


def _lists(folder: Path, files: dict[str, Path], remarks: list[str]) -> list[list[Path]] | None:
    """The XML files of the training part and of the test part; None where no lists name them."""
    place = folder / "ImageSets" / "Main"
    there = [names for names in PARTS if all(look(place / f"{name}.txt") == "file" for name in names)]
    if not there:
        return None
    paths = [place / f"{name}.txt" for name in there[0]]
    if there[1:]:
        used, aside = (" and ".join(f"{name}.txt" for name in names) for names in there)
        remarks.append(f"{aside} of {place} were left aside: {used} are used")
    found = [_listed(path, files) for path in paths]
    check_apart(paths, *([path.stem for path in part] for part in found))
    return found


def _listed(path: Path, files: dict[str, Path]) -> list[Path]:
    words = [line.split() for line in read_file(path, "", MAX_XML).decode("utf-8", "replace").splitlines()]
    stems = [word[0] for word in words if word]
    for stem in stems:
        if stem not in files:
            raise DataError(f"{path} names {stem!r:.80}, of which there is no XML file")
    return [files[stem] for stem in stems]


class Named(NamedTuple):
    """An object of a file: its class, its box from x0, y0 to x1, y1, and whether it is marked as difficult."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


class Told(NamedTuple):
    """What an XML file tells: of which picture, its objects, width and height where it has them."""

    path: Path
    picture: Path
    objects: list[Named]
    size: tuple[int, int] | None


def _read(path: Path, folder: Path) -> Told:
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
        difficult = (item.findtext("difficult") or "0").strip() == "1"
        objects.append(Named(name, (x0 - 1, y0 - 1, x1, y1), difficult))
    size = root.find("size")
    if size is None:
        return Told(path, picture, objects, None)
    width, height = (int(_value(path, size, side, 0)) for side in ("width", "height"))
    return Told(
        path, picture, objects, (width, height) if width and height else None
    )  # some programs write 0 for unknown


def _value(path: Path, parent: Element, name: str, object_number: int) -> float:
    text = parent.findtext(name)
    try:
        value: object = float(text) if text is not None else None
    except ValueError:
        value = text
    where = f" of object {object_number}" if object_number else ""
    return number(value, lambda: f"{path}: {name}{where}")


def _labelled(row: Told, classes: list[str]) -> Labelled:
    boxes: list[Box] = []
    for found in row.objects:
        if found.name not in classes:
            raise DataError(f"{row.path}: the class {found.name!r:.60} is not in the training part")
        label = classes.index(found.name)
        boxes.append((difficult_of(label) if found.difficult else label, *found.box))
    return Labelled(row.picture, str(row.path), boxes, False, row.size)


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
