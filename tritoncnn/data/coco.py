"""Boxes in the form of COCO: one JSON file of pictures, categories and annotations for each part.

Source: Lin et al. 2014, "Microsoft COCO: common objects in context"; cocodataset.org has the form.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tritoncnn.data.boxed_files import Box, Labelled, first_file, inside, load_boxed, number
from tritoncnn.data.boxes import crowd_of
from tritoncnn.data.define import Dataset, Reader, Source
from tritoncnn.data.files import look, read_file, reason
from tritoncnn.data.folder import unwrapped
from tritoncnn.data.stream import STREAM
from tritoncnn.errors import DataError

MAX_JSON = 1_000_000_000  # bytes; that of COCO 2017 has 450 MB
FORM = (
    "annotations/instances_train*.json and annotations/instances_val*.json with folders of pictures beside "
    "annotations, or train and valid with _annotations.coco.json in them, or one annotations.json"
)


def load_coco(folder: Path | None, read: Reader, stream: bool = False) -> Dataset:
    """Read ``instances_train*.json`` and ``instances_val*.json``, or whatever else ``find_json`` finds.

    Crowds are not learned, which is told; an annotation without a box has that of its outline. Raises DataError naming the file
    and what is wrong in it.
    """
    assert folder is not None, "load_data asks for one"
    folder = unwrapped(folder)
    train, test = find_json(folder)
    names, rows, crowds = read_json(train, folder)
    found = None
    if test is not None:
        test_names, found, more = read_json(test, folder)
        if test_names != names:
            raise DataError(f"{test} must have the categories of {train}; got others")
        crowds += more
    said = "1 crowd is" if crowds == 1 else f"{crowds} crowds are"
    remarks = (f"{said} not learned; what is found in one counts neither as right nor as wrong",) if crowds else ()
    return load_boxed("coco", names, rows, found, read, remarks, folder if stream else None)


def find_json(folder: Path) -> tuple[Path, Path | None]:
    """(JSON file of the training part, that of the test part or None). Raises DataError."""
    try:
        inner = [place for place in sorted(folder.iterdir()) if look(place) == "folder" and place.name[:1] != "."]
        files = sorted(path for place in (folder, *inner) for path in place.glob("*.json") if look(path) == "file")
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read: {reason(error)}") from error
    own = [path for path in files if path.name.startswith("instances_")] or files

    def of(*words: str) -> list[Path]:
        """A file is of the part that its name tells or, where that is silent, the name of its folder."""
        return [path for path in own if any(word in _part(path, folder) for word in words)]

    train, test = of("train"), of("val") or of("test")
    if not train and len(own) == 1:
        return own[0], None
    if len(train) != 1 or len(test) > 1:
        found = ", ".join(path.relative_to(folder).as_posix() for path in own[:6]) or "no JSON file"
        raise DataError(f"--data-dir {folder} must hold {FORM}; got {found}")
    return train[0], test[0] if test else None


def _part(path: Path, folder: Path) -> str:
    own = path.stem.lower()
    told = any(word in own for word in ("train", "val", "test"))
    return own if told or path.parent == folder else path.parent.name.lower()


def read_json(path: Path, folder: Path) -> tuple[tuple[str, ...], list[Labelled], int]:
    """(names of the classes by their ids, pictures with boxes, how many of these are around crowds). Raises DataError."""
    whole = _parse(path)
    classes = _categories(path, whole)
    pictures: dict[Any, tuple[Path, tuple[int, int] | None]] = {}
    for image in _list(path, whole, "images"):
        key, size = _id(path, "image", image), None
        if key in pictures:
            raise DataError(f"{path}: two images have the id {key}")
        if "width" in image and "height" in image:
            size = (int(_number(path, image, "width", key)), int(_number(path, image, "height", key)))
        pictures[key] = (
            _picture(path, folder, inside(image.get("file_name"), f"{path}: file_name of image {key}")),
            size,
        )
    if not pictures:
        raise DataError(f"{path} has no images; wanted at least 1 entry in the list 'images'")
    boxes: dict[Any, list[Box]] = {key: [] for key in pictures}
    labels = {key: label for label, key in enumerate(classes)}
    areas: dict[Any, list[float | None]] = {key: [] for key in pictures}
    crowds = 0
    for row in _list(path, whole, "annotations"):
        key, of, category = _id(path, "annotation", row), row.get("image_id"), row.get("category_id")
        if not _is_id(of) or of not in boxes:
            raise DataError(f"{path}: annotation {key} is of image {of!r:.40}, which is not in 'images'")
        if not _is_id(category) or category not in classes:
            raise DataError(f"{path}: annotation {key} has the category {category!r:.40}; known: {_some(classes)}")
        crowd = bool(row.get("iscrowd"))
        crowds += crowd
        boxes[of].append((crowd_of(labels[category]) if crowd else labels[category], *_box(path, row, key)))
        areas[of].append(_area(path, row, key))
    rows = [Labelled(place, str(path), boxes[key], False, size, areas[key]) for key, (place, size) in pictures.items()]
    return tuple(classes.values()), rows, crowds


def _box(path: Path, row: dict[str, Any], key: int) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of an annotation: its bbox or, where it has none, the bounds of the polygons of its segmentation."""

    def numbers(values: list[Any], name: str) -> list[float]:
        return [number(value, lambda: f"{path}: {name} of annotation {key}") for value in values]

    box, outline = row.get("bbox"), row.get("segmentation")
    if box in (None, []) and isinstance(outline, list) and outline and all(isinstance(part, list) for part in outline):
        places = [numbers(part, "segmentation") for part in outline]
        if any(len(part) < 6 or len(part) % 2 for part in places):
            raise DataError(f"{path}: each polygon of annotation {key} must have 3 points or more, as x, y, x, y...")
        xs, ys = ([value for part in places for value in part[first::2]] for first in (0, 1))
        return min(xs), min(ys), max(xs), max(ys)
    if not isinstance(box, list) or len(box) != 4:
        also = ", or polygons as its segmentation" if box is None else ""
        raise DataError(f"{path}: bbox of annotation {key} must be [x, y, width, height]{also}; got {box!r:.60}")
    x, y, w, h = numbers(box, "bbox")
    return x, y, x + w, y + h


def _area(path: Path, row: dict[str, Any], key: int) -> float | None:
    return None if row.get("area") is None else number(row["area"], lambda: f"{path}: area of annotation {key}")


def _parse(path: Path) -> dict[str, Any]:
    data = read_file(path, "", MAX_JSON)
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {reason(error)[:120]}") from error
    if not isinstance(whole, dict):
        raise DataError(
            f"{path} must hold an object with 'images', 'annotations' and 'categories'; got a {type(whole).__name__}"
        )
    return whole


def _list(path: Path, whole: dict[str, Any], name: str) -> list[dict[str, Any]]:
    rows = whole.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path} must have a list of objects {name!r}; got {type(rows).__name__}")
    return rows


def _categories(path: Path, whole: dict[str, Any]) -> dict[Any, str]:
    """id -> name, by the ids."""
    found: dict[Any, str] = {}
    for row in _list(path, whole, "categories"):
        key, name = _id(path, "category", row), row.get("name")
        if not isinstance(name, str) or not name:
            raise DataError(f"{path}: the name of category {key} must be text; got {name!r:.60}")
        if key in found or name in found.values():
            raise DataError(f"{path}: two categories are {key} or {name!r}")
        found[key] = name
    if not found:
        raise DataError(f"{path} has no categories; wanted at least 1")
    return dict(sorted(found.items()))


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _id(path: Path, what: str, row: dict[str, Any]) -> int:
    if not _is_id(row.get("id")):
        raise DataError(f"{path}: the id of each {what} must be a whole number; got {row.get('id')!r:.60}")
    return int(row["id"])


def _number(path: Path, image: dict[str, Any], name: str, key: int) -> float:
    return number(image[name], lambda: f"{path}: {name} of image {key}")


def _some(classes: dict[Any, str]) -> str:
    names = [f"{key} ({name})" for key, name in classes.items()]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _picture(path: Path, folder: Path, name: Any) -> Path:
    """Where a picture is: beside the JSON file, or in a folder that is named after its part, as train2017."""
    part = path.stem.removeprefix("instances_")
    places: Sequence[Path] = (path.parent, folder / part, folder / "images" / part, folder / "images", folder)
    return first_file([place / name for place in places])


coco = Source("coco", "pictures with boxes in the form of COCO", f"a folder with {FORM}", load_coco, (STREAM,))
