"""Folders of pictures with another one beside each - a mask, a depth map, a second photograph - paired by name and parted.

What is in the files is for others to read: nothing here decodes a pixel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from tritoncnn.data.define import HELD_OUT
from tritoncnn.data.files import in_words, look, memory_left, read_file, reason
from tritoncnn.data.folder import TEST, TRAIN, files_in
from tritoncnn.data.pictures import SUFFIXES, upright_size
from tritoncnn.errors import DataError

Read = TypeVar("Read")

PICTURES = ("images", "image", "imgs", "img", "pictures", "rgb", "input", "inputs", "jpegimages", "leftimg8bit",
            "701_stillsraw_full", "frames", "photos")  # fmt: skip
PICTURE_ENDINGS = ("", "_leftImg8bit", "_rgb", "_image", "_img", "_input")
UNUSED = ("_gtFine_color", "_gtFine_instanceIds")  # what else Cityscapes has beside a picture
LISTS = "ImageSets/Segmentation"
MAX_LIST = 20_000_000  # bytes
COPIES = 3  # of all examples in memory: as read, stacked, normalised
SHOWN = 3  # names in an error
SOURCES = 3  # folders or films from which on these are told apart
FRAME = re.compile(r"(.+)[_-][a-z]?\d+")


@dataclass(frozen=True)
class Beside:
    """What lies beside each picture.

    word     for one of them, in errors
    folders  names of folders of them, in small letters; of ``train`` also ``train`` with one of ``parted`` behind it
    endings  what may follow the picture's name in theirs, the best first; "" is its very name, in a folder of its own
    """

    word: str
    folders: tuple[str, ...]
    endings: tuple[str, ...]
    parted: tuple[str, ...] = ()

    @property
    def form(self) -> str:
        names, end = ", ".join(self.folders[:3]), f"_{self.word.split()[0]}"
        return f"a folder images and one of {names}..., whole or in train and val, or a.jpg and a{end}.png side by side"


MASKS = Beside(
    "mask",
    ("masks", "segmentationclass", "labels", "annotations", "mask", "label", "annotation", "gtfine", "gt", "targets", "target",
     "labeledapproved_full", "groundtruth"),
    ("_gtFine_labelTrainIds", "_gtFine_labelIds", "", "_mask", "_masks", "_L", "_P", "_label", "_labels", "_seg", "_gt",
     "_annotation"),
    ("annot", "_labels", "_masks", "_mask", "_label", "_annotations"),
)  # fmt: skip
DEPTHS = Beside(
    "depth map",
    ("depth", "depths", "depth_maps", "sync_depth", "disparity", "groundtruth", "targets", "target"),
    ("", "_depth", "-depth", "_d", "_disparity"),
    ("_depth", "_depths"),
)
SECONDS = Beside(
    "second picture",
    ("b", "targets", "target", "second", "outputs", "output", "photos", "labels"),
    ("", "_b", "_target", "_output", "_second"),
    ("b", "_b", "_targets"),
)


class Pair(NamedTuple):
    """Two files of one thing; ``source`` is the scene, drive or film that they are of, else the picture itself."""

    picture: Path
    beside: Path
    source: str


class Parts(NamedTuple):
    """Pairs for training and for testing, which are one part (``test`` is None) where the folder has no two."""

    train: list[Pair]
    test: list[Pair] | None


def find_pairs(folder: Path, beside: Beside) -> Parts:
    """Pair the files of a folder. Raises DataError: no pairs, a picture alone, something beside no picture, two of one name."""
    folders = _folders(folder)
    train = next((folders[name] for name in TRAIN if name in folders), None)
    test = next((folders[name] for name in TEST if name in folders), None)
    if train is not None and test is not None:
        return Parts(_pairs_of_part(train, folders, beside), _pairs_of_part(test, folders, beside))
    inside, outside = _rooms(folder, beside)
    if inside is not None and outside is not None:
        parts = [{path.name.lower(): path for path in _folders(room).values()} for room in (inside, outside)]
        names = [next((n for n in some if n in parts[0] and n in parts[1]), None) for some in (TRAIN, TEST)]
        if names[0] is not None and names[1] is not None:
            first, second = (_pair(parts[0][name], parts[1][name], beside) for name in names if name is not None)
            return Parts(first, second)
    pairs = _pairs_of_part(folder, folders, beside)
    return _listed(folder, pairs, beside) or Parts(pairs, None)


def part_pairs(name: str, parts: Parts, share: float = HELD_OUT) -> tuple[list[Pair], list[Pair]]:
    """(training, testing); of one part the ``share`` of its sources, drawn with a fixed seed, becomes the test part.

    No source is in both. Raises DataError where there is only one.
    """
    if parts.test is not None:
        return parts.train, parts.test
    sources = sorted({pair.source for pair in parts.train})
    if len(sources) < 2:
        raise DataError(f"{name}: wanted pictures of at least 2 sources, one of them for testing; got {len(sources)}")
    order = np.random.RandomState(0).permutation(len(sources))
    kept, count = set[str](), 0
    for place in order[:-1]:
        if count >= share * len(parts.train):
            break
        kept.add(sources[place])
        count += sum(pair.source == sources[place] for pair in parts.train)
    test = [pair for pair in parts.train if pair.source in kept]
    return [pair for pair in parts.train if pair.source not in kept], test


def check_sizes(pair: Pair, beside: Beside) -> tuple[int, int]:
    """Width and height of both files of a pair, upright. Raises DataError where they differ."""
    sizes = [upright_size(path) for path in (pair.picture, pair.beside)]
    if sizes[0] != sizes[1]:
        told = [f"{width} x {height}" for width, height in sizes]
        raise DataError(f"{beside.word} {pair.beside} is {told[1]}; its picture {pair.picture} is {told[0]}")
    return sizes[0]


def read_pairs(
    name: str, pairs: Sequence[Pair], beside: Beside, read: Callable[[Pair, tuple[int, int]], Read], needed: int
) -> list[Read]:
    """``read(pair, (width, height))`` for each pair, after its sizes were compared; ``needed`` bytes of memory for each.

    Raises DataError, also where they do not fit into memory, before any is read.
    """
    if (total := COPIES * len(pairs) * needed) > (free := memory_left()):
        raise DataError(
            f"{name}: {len(pairs)} pictures with a {beside.word} each would need {in_words(total)} of memory; "
            f"{in_words(free)} are left"
        )
    return [read(pair, check_sizes(pair, beside)) for pair in pairs]


def _folders(folder: Path) -> dict[str, Path]:
    """Folders in a folder by their names in small letters."""
    try:
        return {entry.name.lower(): entry for entry in sorted(folder.iterdir()) if look(entry) == "folder"}
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read: {reason(error)}") from error


def _rooms(folder: Path, beside: Beside) -> tuple[Path | None, Path | None]:
    """The folder of pictures, and that of what is beside them: of two folders, the other one, whatever its name is."""
    folders = _folders(folder)
    inside, outside = (next((folders[n] for n in names if n in folders), None) for names in (PICTURES, beside.folders))
    if len(folders) == 2 and (inside is None) != (outside is None):
        other = next(path for path in folders.values() if path not in (inside, outside))
        return inside or other, outside or other
    return inside, outside


def _pairs_of_part(folder: Path, around: Mapping[str, Path], beside: Beside) -> list[Pair]:
    """Pairs of a folder that holds two folders, or has its like among those ``around``, or holds all files itself."""
    inside, outside = _rooms(folder, beside)
    if inside is not None and outside is not None:
        return _pair(inside, outside, beside)
    partner = next((around[name] for end in beside.parted if (name := folder.name.lower() + end) in around), None)
    if partner is not None:
        return _pair(folder, partner, beside)
    return _pair(folder, folder, beside)


def _pair(inside: Path, outside: Path, beside: Beside) -> list[Pair]:
    """``inside`` and ``outside`` may be one folder; then nothing is beside a picture of its very name."""
    endings = tuple(end for end in beside.endings if end or inside != outside)
    files = _by_key(outside, beside.word, endings)
    pictures = _by_key(inside, "picture", PICTURE_ENDINGS)
    if inside == outside:
        taken = {key: path for key, path in pictures.items() if _ending(path, endings)}
        pictures = {key: path for key, path in pictures.items() if key not in taken}
        files = taken
    found: dict[str, Path] = {}
    for key in pictures:
        stem = _cut(key, PICTURE_ENDINGS)
        path = next((files[stem + end] for end in endings if stem + end in files), None)
        if path is not None:
            found[key] = path
    if not found:
        counts = f"{_many(len(pictures), 'picture')} and {_many(len(files), beside.word)}"
        raise DataError(
            f"--data-dir: {inside if inside == outside else f'{inside} and {outside}'} must hold pictures with a {beside.word} "
            f"of the same name beside each ({beside.form}); got {counts}, and no pair"
        )
    others = inside.name.lower() == "jpegimages"  # VOC has masks for some of its pictures only
    alone = [] if others else [path for key, path in pictures.items() if key not in found]
    if alone:
        raise DataError(
            f"{_some(alone, 'picture')} no {beside.word} beside {'it' if len(alone) == 1 else 'them'} in {outside}"
        )
    stems = {_cut(key, PICTURE_ENDINGS) for key in found}
    stray = [
        path for key, path in files.items() if not any(_cut(key, (end,)) in stems for end in (*beside.endings, *UNUSED))
    ]
    if stray:
        raise DataError(f"{_some(stray, beside.word)} no picture of the same name in {inside}")
    sources = _sources(sorted(found))
    return [Pair(pictures[key], found[key], f"{inside}/{sources[key]}") for key in sorted(found)]


def _by_key(folder: Path, word: str, endings: Sequence[str]) -> dict[str, Path]:
    """Picture files by their path within the folder, without suffix. Raises DataError where two are called the same."""
    found: dict[str, Path] = {}
    for path in files_in(folder):
        if path.suffix.lower() in SUFFIXES:
            key = path.relative_to(folder).with_suffix("").as_posix()
            if key in found:
                raise DataError(f"{word}s {found[key]} and {path} have one name; take one of them out")
            found[key] = path
    return found


def _ending(path: Path, endings: Sequence[str]) -> str:
    return next((end for end in endings if end and path.stem.endswith(end) and path.stem != end), "")


def _cut(key: str, endings: Sequence[str]) -> str:
    end = next((end for end in endings if end and key.endswith(end)), "")
    return key[: len(key) - len(end)]


def _sources(keys: Sequence[str]) -> dict[str, str]:
    """Where pictures lie in several folders, these are the sources; of frames, whose names end in numbers, the films."""
    folders = {key: key.rpartition("/")[0] for key in keys}
    if len(set(folders.values())) >= SOURCES:
        return folders
    films = {key: found[1] for key in keys if (found := FRAME.fullmatch(key))}
    counts = [list(films.values()).count(film) for film in set(films.values())]
    if len(films) == len(keys) and len(counts) >= SOURCES and min(counts) > 1:
        return films
    return {key: key for key in keys}


def _listed(folder: Path, pairs: Sequence[Pair], beside: Beside) -> Parts | None:
    """The parts that VOC's lists name; None where there are no lists."""
    place = folder / LISTS
    paths = [place / "train.txt", place / "val.txt"]
    if not all(look(path) == "file" for path in paths):
        return None
    named = {pair.picture.stem: pair for pair in pairs}
    parts = []
    for path in paths:
        stems = read_file(path, "", MAX_LIST).decode("utf-8", "replace").split()
        for stem in stems:
            if stem not in named:
                raise DataError(f"{path} names {stem!r:.80}, of which there is no picture with a {beside.word}")
        if not stems:
            raise DataError(f"{path} names no picture")
        parts.append([named[stem] for stem in stems])
    return Parts(parts[0], parts[1])


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _some(paths: Sequence[Path], word: str) -> str:
    """As in "3 pictures (a.png, b.png, c.png) have"."""
    shown = ", ".join(map(str, paths[:SHOWN])) + (" ..." if len(paths) > SHOWN else "")
    return f"{_many(len(paths), word)} ({shown}) {'has' if len(paths) == 1 else 'have'}"
