"""Folders of pictures with another one beside each - a mask, a depth map, a second photograph - paired by name and parted.

What is in the files is for others to read: nothing here decodes a pixel.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

import numpy as np

from tritoncnn.data.define import HELD_OUT
from tritoncnn.data.files import check_memory, look, read_file, reason
from tritoncnn.data.folder import TEST, TRAIN, files_in
from tritoncnn.data.lists import MAX_LIST, check_apart, read_tables
from tritoncnn.data.pictures import SUFFIXES, upright_size
from tritoncnn.errors import DataError

Read = TypeVar("Read")

PICTURES = ("images", "image", "imgs", "img", "pictures", "rgb", "input", "inputs", "jpegimages", "leftimg8bit",
            "701_stillsraw_full", "frames", "photos")  # fmt: skip
PICTURE_ENDINGS = ("", "_leftImg8bit", "_rgb", "_image", "_img", "_input")
PICTURE_WORDS = frozenset(("rgb", "color", "colors", "colour", "image", "img", "input", "data", "sync"))
UNUSED = ("_gtFine_color", "_gtFine_instanceIds")  # what else Cityscapes has beside a picture
UNUSED_WORDS = frozenset(("velodyne",))  # what else KITTI has: depth as it was measured, before scans were put together
LOSSY = (".jpg", ".jpeg", ".jfif", ".jpe", ".webp")  # of what is beside a picture these would change values
LISTS = (
    (Path("ImageSets/Segmentation"), "train.txt", "val.txt"),
    (Path(), "train.txt", "val.txt"),
    (Path(), "train.txt", "valid.txt"),
)
COPIES = 3  # of all examples in memory: as read, stacked, normalised
SHOWN = 3  # names in an error
ON_DISK = ": --stream leaves the pictures on disk until they are needed"
SOURCES = 3  # folders or films from which on these are told apart
FRAME = re.compile(r"(.+)[_-][a-z]?\d+")


class NoPairs(DataError):
    """A folder of which no picture has anything beside it."""


@dataclass(frozen=True)
class Beside:
    """What lies beside each picture.

    word     for one of them, in errors
    folders  names of folders of them, in small letters; of ``train`` also ``train`` with one of ``parted`` behind it
    endings  what may follow the picture's name in theirs, the best first; "" is its very name, in a folder of its own
    words    parts of a path, small letters between / _ - and dots, that only say that it is one of them
    """

    word: str
    folders: tuple[str, ...]
    endings: tuple[str, ...]
    parted: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()

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
    frozenset(("mask", "masks", "label", "labels", "seg", "segmentation", "gt", "annotation")),
)  # fmt: skip
DEPTHS = Beside(
    "depth map",
    ("depth", "depths", "depth_maps", "sync_depth", "disparity", "groundtruth", "groundtruth_depth", "targets", "target"),
    ("", "_depth", "-depth", "_d", "_disparity"),
    ("_depth", "_depths"),
    frozenset(("depth", "proj", "groundtruth", "gt", "disparity")),
)  # fmt: skip


class Pair(NamedTuple):
    """Two files of one thing; ``source`` is the scene, drive or film that they are of, else the picture itself."""

    picture: Path
    beside: Path
    source: str


class Parts(NamedTuple):
    """Pairs for training and for testing, which are one part (``test`` is None) where the folder has no two."""

    train: list[Pair]
    test: list[Pair] | None
    remarks: tuple[str, ...] = ()


def find_pairs(folder: Path, beside: Beside) -> Parts:
    """Pair the files of a folder. Raises DataError: no pairs, a picture alone, something beside no picture, two of one name."""
    folders = _folders(folder)
    train = next((folders[name] for name in TRAIN if name in folders), None)
    test = next((folders[name] for name in TEST if name in folders), None)
    if train is not None and test is not None:
        return _parts(beside, _pairs_of_part(train, folders, beside), _pairs_of_part(test, folders, beside))
    if told := _told(folder):
        return told
    if (named := _named_parts(folders)) is not None:
        return _parts(beside, *(_pairs_of_part(part, folders, beside) for part in named))
    inside, outside = _rooms(folder, beside)
    if inside is not None and outside is not None:
        parts = [{path.name.lower(): path for path in _folders(room).values()} for room in (inside, outside)]
        names = [next((n for n in some if n in parts[0] and n in parts[1]), None) for some in (TRAIN, TEST)]
        if names[0] is not None and names[1] is not None:
            return _parts(
                beside, *(_pair(parts[0][name], parts[1][name], beside) for name in names if name is not None)
            )
    found = _pairs_of_part(folder, folders, beside)
    listed = _listed(folder, found.pairs, beside)
    return _parts(beside, found)._replace(train=listed[0], test=listed[1]) if listed else _parts(beside, found)


def _named_parts(folders: Mapping[str, Path]) -> tuple[Path, Path] | None:
    """Folders as nyu2_train and nyu2_test, where there is one such pair."""
    stems = [name.removesuffix(f"_{TRAIN[0]}") for name in folders if name.endswith(f"_{TRAIN[0]}")]
    tests = [name for name in (f"{stem}_{test}" for stem in stems for test in TEST) if name in folders]
    return (folders[f"{stems[0]}_{TRAIN[0]}"], folders[tests[0]]) if len(stems) == len(tests) == 1 else None


def _told(folder: Path) -> Parts | None:
    """The pairs that two tables tell of."""
    found = read_tables(folder)
    if found is None:
        return None
    train, test = ([Pair(*row, str(row[0].parent)) for row in rows] for rows in found)
    return Parts(train, test)


def _parts(beside: Beside, train: Found, test: Found | None = None) -> Parts:
    alone = train.alone + (test.alone if test else 0)
    remarks = (f"{_many(alone, 'picture')} without a {beside.word} {'was' if alone == 1 else 'were'} left out",)
    return Parts(train.pairs, test.pairs if test else None, remarks if alone else ())


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
    name: str, pairs: Sequence[Pair], beside: Beside, read: Callable[[Pair, tuple[int, int]], Read], needed: int,
    advice: str = "",
) -> list[Read]:  # fmt: skip
    """``read(pair, (width, height))`` for each pair, after its sizes were compared; ``needed`` bytes of memory for each.

    Raises DataError, also where they do not fit into memory, before any is read; ``advice`` then says what helps.
    """
    check_memory(COPIES * len(pairs) * needed, f"{name}: {len(pairs)} pictures with a {beside.word} each", advice)
    return [read(pair, check_sizes(pair, beside)) for pair in pairs]


def _folders(folder: Path) -> dict[str, Path]:
    """Folders in a folder by their names in small letters; of what an archive was unpacked into, as gtFine_trainvaltest, the
    gtFine that it holds."""
    try:
        there = [_unpacked(entry) for entry in sorted(folder.iterdir()) if look(entry) == "folder"]
        return {entry.name.lower(): entry for entry in there}
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read: {reason(error)}") from error


def _unpacked(folder: Path) -> Path:
    inner = folder / folder.name.partition("_")[0]
    return inner if inner.name != folder.name and look(inner) == "folder" else folder


def _rooms(folder: Path, beside: Beside) -> tuple[Path | None, Path | None]:
    """The folder of pictures, and that of what is beside them: of two folders, the other one, whatever its name is."""
    folders = _folders(folder)
    inside, outside = (next((folders[n] for n in names if n in folders), None) for names in (PICTURES, beside.folders))
    if len(folders) == 2 and (inside is None) != (outside is None):
        other = next(path for path in folders.values() if path not in (inside, outside))
        return inside or other, outside or other
    return inside, outside


def _pairs_of_part(folder: Path, around: Mapping[str, Path], beside: Beside) -> Found:
    """Pairs of a folder that holds two folders, or has its like among those ``around``, or holds all files itself."""
    inside, outside = _rooms(folder, beside)
    if inside is not None and outside is not None:
        return _pair(inside, outside, beside)
    partner = next((around[name] for end in beside.parted if (name := folder.name.lower() + end) in around), None)
    if partner is not None:
        return _pair(folder, partner, beside)
    return _pair(folder, folder, beside)


class Found(NamedTuple):
    """Pairs, and how many pictures have nothing beside them, where that is as it should be."""

    pairs: list[Pair]
    alone: int = 0


def _pair(inside: Path, outside: Path, beside: Beside) -> Found:
    """``inside`` and ``outside`` may be one folder."""
    within, around = files_in(inside), files_in(outside)
    if inside == outside:
        around = [path for path in within if _is_beside(path, inside, beside)] + _twins(within)
        within = [path for path in within if path not in set(around)]
    files, pictures = _by_key(around, outside, beside.word), _by_key(within, inside, "picture")
    found = _matched(pictures, files, beside)
    if not found:
        counts = f"{_many(len(pictures), 'picture')} and {_many(len(files), beside.word)}"
        raise NoPairs(
            f"--data-dir: {inside if inside == outside else f'{inside} and {outside}'} must hold pictures with a {beside.word} "
            f"of the same name beside each ({beside.form}); got {counts}, and no pair"
        )
    # VOC has masks for some of its pictures only, KITTI depth for some of its frames.
    some = inside.name.lower() == "jpegimages" or any("proj_depth" in path.parts for path in found.values())
    alone = [path for key, path in pictures.items() if key not in found]
    if alone and not some:
        raise DataError(
            f"{_some(alone, 'picture')} no {beside.word} beside {'it' if len(alone) == 1 else 'them'} in {outside}"
        )
    stems, used = {_cut(key, PICTURE_ENDINGS) for key in found}, set(found.values())
    stray = [
        path
        for key, path in files.items()
        if path not in used and not any(_cut(key, (end,)) in stems for end in (*beside.endings, *UNUSED))
    ]
    if stray:
        raise DataError(f"{_some(stray, beside.word)} no picture of the same name in {inside}")
    sources = _sources(sorted(found))
    return Found([Pair(pictures[key], found[key], f"{inside}/{sources[key]}") for key in sorted(found)], len(alone))


def _matched(pictures: Mapping[str, Path], files: Mapping[str, Path], beside: Beside) -> dict[str, Path]:
    """What is beside each picture: by an ending, else by what is left of names without the words for what they are."""
    bare: dict[tuple[str, ...], list[Path]] = {}
    for key, path in files.items():
        bare.setdefault(_bare(key, beside), []).append(path)
    rivals = Counter(_bare(key, beside) for key in pictures)
    found = {}
    for key in pictures:
        stem, name = _cut(key, PICTURE_ENDINGS), _bare(key, beside)
        other = next((files[stem + end] for end in beside.endings if stem + end in files), None)
        if other is None and rivals[name] == 1 and len(bare.get(name, ())) == 1:
            other = bare[name][0]
        if other is not None:
            found[key] = other
    return found


def _words(key: str) -> list[str]:
    return re.split(r"[/_.-]+", key.lower())


def _bare(key: str, beside: Beside) -> tuple[str, ...]:
    """As ("kitchen", "00012") of kitchen/sync_depth_00012 and of kitchen/rgb_00012."""
    return tuple(word for word in _words(key) if word not in beside.words and word not in PICTURE_WORDS)


def _is_beside(path: Path, folder: Path, beside: Beside) -> bool:
    """Whether the name says that it is beside a picture in the same folder, and none itself."""
    key = path.relative_to(folder).with_suffix("").as_posix()
    return bool(_ending(path, beside.endings) or beside.words.intersection(_words(key)))


def _twins(files: Sequence[Path]) -> list[Path]:
    """Files without loss that have the very name of a photograph, as facades: a.png beside a.jpg."""
    photographs = {path.with_suffix("") for path in files if path.suffix.lower() in LOSSY}
    return [path for path in files if path.suffix.lower() not in LOSSY and path.with_suffix("") in photographs]


def _by_key(files: Sequence[Path], folder: Path, word: str) -> dict[str, Path]:
    """Picture files by their path within the folder, without suffix. Raises DataError where two are called the same."""
    found: dict[str, Path] = {}
    for path in files:
        key = path.relative_to(folder).with_suffix("").as_posix()
        if path.suffix.lower() not in SUFFIXES or UNUSED_WORDS.intersection(_words(key)):
            continue
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


def _listed(folder: Path, pairs: Sequence[Pair], beside: Beside) -> tuple[list[Pair], list[Pair]] | None:
    """The parts that lists of names tell of, VOC's or a train.txt and val.txt in the folder; None where there are none.

    Without a train.txt all others are for training. Of a line the first word counts, without folders.
    """
    found = next(
        (
            (folder / place / first, folder / place / second)
            for place, first, second in LISTS
            if look(folder / place / second) == "file"
        ),
        None,
    )
    if found is None:
        return None
    named = {pair.picture.stem: pair for pair in pairs}
    if len(named) < len(pairs):
        raise DataError(
            f"{found[1]} tells of pictures by their names, which must be different; {len(pairs)} have {len(named)}"
        )
    test = _named(found[1], named, beside)
    if look(found[0]) == "file":
        train = _named(found[0], named, beside)
        check_apart(found, [pair.picture.stem for pair in train], [pair.picture.stem for pair in test])
        return train, test
    train = [pair for pair in pairs if pair not in set(test)]
    if not train:
        raise DataError(f"{found[1]} names all pictures; wanted some of which none is for testing")
    return train, test


def _named(path: Path, named: Mapping[str, Pair], beside: Beside) -> list[Pair]:
    lines = [line.split() for line in read_file(path, "", MAX_LIST).decode("utf-8", "replace").splitlines()]
    pairs = []
    for word in (words[0] for words in lines if words):
        pair = named.get(word) or named.get(PurePosixPath(word).stem)
        if pair is None:
            raise DataError(f"{path} names {word!r:.80}, of which there is no picture with a {beside.word}")
        pairs.append(pair)
    if not pairs:
        raise DataError(f"{path} names no picture")
    return pairs


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _some(paths: Sequence[Path], word: str) -> str:
    """As in "3 pictures (a.png, b.png, c.png) have"."""
    shown = ", ".join(map(str, paths[:SHOWN])) + (" ..." if len(paths) > SHOWN else "")
    return f"{_many(len(paths), word)} ({shown}) {'has' if len(paths) == 1 else 'have'}"
