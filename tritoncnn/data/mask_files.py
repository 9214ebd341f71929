"""Mask files: which class each pixel is of, as ids in a grey or palette PNG, or as the colours of a list of classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tritoncnn.data.define import IGNORED
from tritoncnn.data.files import look, read_file
from tritoncnn.data.paired import LOSSY
from tritoncnn.data.palette import by_nearest
from tritoncnn.data.pictures import open_picture
from tritoncnn.errors import DataError

Ids = NDArray[np.uint8]

MOST = 255  # classes; 255 is no class but "does not count"
VOID = 255
MANY = 64  # classes that ids may tell of without a list of names
RUN = "the run"  # what tells the classes of maps that are handed to a trained net
BINARY = ("background", "foreground")
LISTS = ("classes.txt", "codes.txt", "labels.txt", "label_colors.txt", "class_dict.csv", "classes.csv", "labelmap.txt")
MAX_LIST = 1_000_000  # bytes
COLUMNS = ("name", "r", "g", "b")  # of a table that has a title
COLOUR_FIRST = re.compile(r"(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(.+)")
NAME_FIRST = re.compile(r"(.+?)[\s,:]+(\d+)[\s,]+(\d+)[\s,]+(\d+)(?:\s*:.*)?")  # CVAT has more behind a colon
NOT_COUNTED = ("void", "ignore", "ignored", "unlabeled", "unlabelled")

VOC = ("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
       "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")  # fmt: skip
CITYSCAPES = {  # class -> its id in *_labelIds.png; in *_labelTrainIds.png it is its place in this list
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19, "traffic sign": 20,
    "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31,
    "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
CITYSCAPES_IDS = 34
CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian", "bicyclist",
          "unlabelled")  # fmt: skip
CAMVID_FOLDERS = ("trainannot", "valannot", "testannot")  # of the 12 ids that SegNet's authors made of CamVid's colours


@dataclass(frozen=True)
class Classes:
    """What ids mean.

    names    of the classes
    where    what tells so, for errors
    colours  of each class; empty: masks hold ids
    void     colours of pixels that do not count
    ids      id in the file -> class or IGNORED, where ids are not simply places in ``names``
    """

    names: tuple[str, ...]
    where: str
    colours: tuple[tuple[int, int, int], ...] = ()
    void: tuple[tuple[int, int, int], ...] = ()
    ids: tuple[int, ...] = ()

    def counted(self) -> Classes:
        """The same without names as void, whose ids then do not count; colours are already told so."""
        if self.colours or self.ids or not any(name.lower() in NOT_COUNTED for name in self.names):
            return self
        names = tuple(name for name in self.names if name.lower() not in NOT_COUNTED)
        ids = tuple(names.index(name) if name in names else IGNORED for name in self.names)
        return replace(self, names=names, ids=ids)

    def black_and_white(self) -> Classes:
        """The same two in masks of 0 and 255, which is the second class there and not void."""
        return replace(self, ids=(0, *[IGNORED] * (VOID - 1), 1))


def find_classes(folder: Path, masks: Sequence[Path], words: str = "classes") -> Classes:
    """What ids mean: by a list in the folder, by the masks' own names, else by the ids that there are.

    Masks in black and white alone are of two classes, those of a list of two, else background and foreground. Raises DataError:
    ids of one class, or of so many without a list that they may be shades of grey.
    """
    named = read_classes(folder) or classes_of(masks[0])
    if named is not None and (named.colours or named.ids or len(named.names) != len(BINARY)):
        return named
    ids = {int(value) for path in masks for value in np.unique(read_mask(path, None))}
    if ids == {0, VOID}:
        return (named or Classes(BINARY, str(folder))).black_and_white()
    if named is not None:
        return named
    if len(ids - {VOID}) < 2:
        raise DataError(f"the masks of {folder} have the ids {sorted(ids)}; wanted those of at least 2 {words}")
    if (last := max(ids - {VOID})) >= MANY:
        raise DataError(
            f"the masks of {folder} have {len(ids)} ids up to {last}, and no list of {words}: wanted {LISTS[0]} with a name a "
            f"line, from id 0 on; masks that were smoothed or scaled hold values between those of {words}"
        )
    return Classes(tuple(map(str, range(last + 1))), str(folder))


def read_classes(folder: Path) -> Classes | None:
    """The list of classes of a folder; None where there is none. Raises DataError."""
    path = next((folder / name for name in LISTS if look(folder / name) == "file"), None)
    if path is None:
        return None
    text = read_file(path, "", MAX_LIST).decode("utf-8", "replace").lstrip("\ufeff")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    rows = [_coloured(line) for line in lines]
    if not any(rows):
        names = tuple(lines)
        _check_names(path, names)
        return Classes(names, str(path))
    if rows[0] is None:  # a title: name,r,g,b, perhaps with more columns
        title, lines = [word.strip().lower() for word in lines[0].split(",")], lines[1:]
        if all(column in title for column in COLUMNS):
            places = [title.index(column) for column in COLUMNS]
            tables = [line.split(",") for line in lines]
            lines = [",".join(row[i] for i in places) if len(row) == len(title) else ",".join(row) for row in tables]
        rows = [_coloured(line) for line in lines]
    wrong = next((line for line, row in zip(lines, rows, strict=True) if row is None), None)
    if wrong is not None:
        raise DataError(f"{path}: each line must be a name and three numbers from 0 to 255; got {wrong!r:.80}")
    told = [row for row in rows if row is not None]
    counted = [(name, colour) for name, colour in told if name.lower() not in NOT_COUNTED]
    colours = [colour for _, colour in told]
    if len(set(colours)) < len(colours):
        twice = next(colour for colour in colours if colours.count(colour) > 1)
        raise DataError(f"{path} has the colour {twice} twice")
    names = tuple(name for name, _ in counted)
    _check_names(path, names)
    void = tuple(colour for name, colour in told if name.lower() in NOT_COUNTED)
    return Classes(names, str(path), tuple(colour for _, colour in counted), void)


def _coloured(line: str) -> tuple[str, tuple[int, int, int]] | None:
    if found := COLOUR_FIRST.fullmatch(line):
        values, name = found.groups()[:3], found[4]
    elif found := NAME_FIRST.fullmatch(line):
        values, name = found.groups()[1:], found[1]
    else:
        return None
    r, g, b = map(int, values)
    return (name.strip().strip('"'), (r, g, b)) if max(r, g, b) <= 255 else None


def _check_names(path: Path, names: tuple[str, ...]) -> None:
    if not 2 <= len(names) <= MOST:
        raise DataError(f"{path} must name 2 to {MOST} classes; got {len(names)}")
    if len(set(names)) < len(names):
        raise DataError(f"{path} has the class {next(n for n in names if names.count(n) > 1)!r} twice")


def classes_of(path: Path) -> Classes | None:
    """What the names of mask files and their folder tell of the classes, of Cityscapes, CamVid and VOC."""
    if path.stem.endswith("_labelTrainIds"):
        return Classes(tuple(CITYSCAPES), "Cityscapes")
    if path.stem.endswith("_labelIds"):
        places = {number: place for place, number in enumerate(CITYSCAPES.values())}
        return Classes(
            tuple(CITYSCAPES), "Cityscapes", ids=tuple(places.get(n, IGNORED) for n in range(CITYSCAPES_IDS))
        )
    if path.parent.name in CAMVID_FOLDERS:
        return Classes(CAMVID, "CamVid as SegNet has it, which has no list of classes beside it,")
    return Classes(VOC, "Pascal VOC") if path.parent.name == "SegmentationClass" else None


def read_mask(path: Path, classes: Classes | None) -> Ids:
    """A mask u8[H,W] upright: the class of each pixel, VOID where it does not count. Raises DataError.

    Without ``classes`` all ids are taken as they are.
    """
    if path.suffix.lower() in LOSSY and (classes is None or not classes.colours):
        raise DataError(
            f"mask {path} is a {path.suffix[1:].upper()}, which changes values; wanted a PNG, or a list of the colours of all "
            f"classes beside it, {LISTS[3]} or {LISTS[4]}"
        )
    values = open_picture(path, _decode if classes is None or not classes.colours else partial(_shown, classes.colours))
    if classes is not None and classes.colours:
        if values.ndim != 3:
            raise DataError(f"mask {path} holds ids; {classes.where} tells of colours, so it must hold colours")
        return _by_colour(path, values, classes)
    if values.ndim == 3:
        if (values != values[:, :, :1]).any():
            raise DataError(
                f"mask {path} holds colours, of which no file tells the classes: wanted ids, or {LISTS[3]} or {LISTS[4]} "
                "with a name and three numbers for each class"
            )
        values = values[:, :, 0]
    if int(values.max()) > VOID or int(values.min()) < 0:
        raise DataError(f"mask {path} has the id {int(values.max())}; wanted ids from 0 to {VOID}")
    ids = values.astype(np.uint8)
    return ids if classes is None else _by_id(path, ids, classes)


def view_mask(path: Path) -> NDArray[np.generic]:
    """Ids [H,W], or colours u8[H,W,3] where it is of colours. Raises DataError."""
    values = open_picture(path, _decode)
    return values[:, :, 0] if values.ndim == 3 and (values == values[:, :, :1]).all() else values


def _decode(picture: Image.Image) -> NDArray[np.generic]:
    """Ids [H,W], or colours [H,W,3]."""
    if picture.mode in ("L", "P", "I") or picture.mode.startswith("I;16"):
        return np.asarray(ImageOps.exif_transpose(picture))
    if picture.mode == "1":
        return np.asarray(ImageOps.exif_transpose(picture)).astype(np.uint8) * 255
    if picture.mode == "LA":
        return np.asarray(ImageOps.exif_transpose(picture).getchannel("L"))
    return np.asarray(ImageOps.exif_transpose(picture.convert("RGB")))


def _shown(colours: Sequence[tuple[int, int, int]], picture: Image.Image) -> NDArray[np.generic]:
    """As ``_decode``, but for what a palette shows, and for grey values where all ``colours`` are grey: colours [H,W,3]."""
    grey = picture.mode in ("1", "L") and all(r == g == b for r, g, b in colours)
    return _decode(picture.convert("RGB") if picture.mode == "P" or grey else picture)


def _by_id(path: Path, values: Ids, classes: Classes) -> Ids:
    known = len(classes.ids or classes.names)
    table = np.full(256, VOID, np.uint8)
    table[:known] = [VOID if label == IGNORED else label for label in classes.ids] or range(known)
    beyond = (values >= known) & (values != VOID)
    if beyond.any():
        row, column = np.argwhere(beyond)[0].tolist()
        raise DataError(
            f"mask {path} has the id {values[row, column]} at column {column}, row {row}; {classes.where} has the ids 0 to "
            f"{known - 1}, and {VOID} for pixels that do not count"
        )
    return table[values]


def tell_lossy(word: str, paths: Sequence[Path], classes: Classes) -> tuple[str, ...]:
    """A remark where masks that tell classes by colours, called ``word``, were compressed with loss."""
    if not (classes.colours and any(path.suffix.lower() in LOSSY for path in paths)):
        return ()
    return (
        f"{word} were compressed with loss: a pixel with a colour near none of {classes.where} has the class of the nearest one "
        "that has one",
    )


def _by_colour(path: Path, values: NDArray[np.generic], classes: Classes) -> Ids:
    if path.suffix.lower() in LOSSY:
        places, wrong = by_nearest(values.astype(np.uint8), (*classes.colours, *classes.void))
        if wrong:
            raise DataError(f"mask {path}: {wrong} of {classes.where}")
        return np.where(places < len(classes.colours), places, VOID).astype(np.uint8)
    code = values.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    mask, found = np.full(code.shape, VOID, np.uint8), np.zeros(code.shape, bool)
    rows = [*enumerate(classes.colours), *((VOID, colour) for colour in classes.void)]
    for label, (r, g, b) in rows:
        here = code == (r << 16 | g << 8 | b)
        mask[here], found = label, found | here
    if not found.all():
        row, column = np.argwhere(~found)[0].tolist()
        colour = tuple(int(value) for value in values[row, column])
        advice = "" if classes.where == RUN else ": a line void with three numbers there leaves a colour out"
        raise DataError(
            f"mask {path} has the colour {colour} at column {column}, row {row}; {classes.where} has no such class{advice}"
        )
    return mask
