"""Label maps and their photographs side by side in one picture each, as pix2pix's authors have them: facades, Cityscapes, maps.

Which half is the map is seen: areas of one colour. Source: Isola et al. 2017, the data sets of their code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from tritoncnn.data.define import Dataset, Facts, Reader, Source
from tritoncnn.data.files import check_memory
from tritoncnn.data.folder import TEST, TRAIN, files_in, unwrapped
from tritoncnn.data.label_maps import MapReader, Scenes, check_maps, fit_map, make_scenes, stack
from tritoncnn.data.mask_files import MANY, Ids
from tritoncnn.data.paired import COPIES, Pair, Parts, part_pairs
from tritoncnn.data.palette import FEW, Colour, Values, by_nearest, concentration, find_colours
from tritoncnn.data.pictures import SUFFIXES, read_colour
from tritoncnn.errors import DataError

NAME = "joined-maps"
SAMPLE = 64  # training pictures, evenly chosen, that tell which half is the map
LEAST, MORE = 0.4, 0.1  # share of maps that few colours hold, and by how much it is larger than that of photographs
EACH = 3 * 4 + 1 + 4  # bytes of a pixel, as of label maps in files of their own
SIDES = ("left", "right")
FORM = "a folder train and one val, or one folder, with pictures that are a label map and its photograph side by side"


@dataclass(frozen=True)
class JoinedReader(MapReader):
    """A picture of both, or of the map alone, in the colours that the model knows -> f32[size,size], as ``MapReader`` gives."""

    def ids(self, path: Path) -> Ids:
        values, wrong = _read(path), ""
        for part in (values, *(halves(path, values) if values.shape[1] % 2 == 0 else ())):
            found, wrong = by_nearest(part, self.colours)
            if not wrong:
                return found.astype(np.uint8)
        raise DataError(f"picture {path} is no label map of the run, nor is one of its halves: {wrong} of the run")

    def of(self, facts: Facts) -> JoinedReader:
        return JoinedReader(self.size, facts.classes, facts.colours)


def load_joined(folder: Path | None, read: Reader) -> Dataset:
    """Labels are the colours of the halves that are maps, as #rrggbb; of a run's data they are the run's. Raises DataError."""
    assert folder is not None, "load_data asks for one"
    reader = check_maps(NAME, read)
    parts = _parts(unwrapped(folder))
    train, test = part_pairs(NAME, parts)
    count = len(train) + len(test)
    check_memory(COPIES * EACH * reader.size**2 * count, f"{NAME}: {count} pictures")
    some = [pair.picture for pair in train[:: -(-len(train) // SAMPLE)]]
    sample = [halves(path, _read(path)) for path in some]
    side = _side_of_maps(folder, some, sample)
    colours = reader.colours or _colours_of(folder, [pair.picture for pair in train], side)

    def load(pairs: Sequence[Pair]) -> Scenes:
        return stack([one(pair.picture) for pair in pairs])

    def one(path: Path) -> tuple[Ids, np.ndarray]:
        both = halves(path, _read(path))
        ids, wrong = by_nearest(both[side], colours)
        if wrong:
            raise DataError(f"picture {path}: in its {SIDES[side]} half {wrong} of the other label maps")
        return fit_map(ids.astype(np.uint8), reader.size), reader.fit(Image.fromarray(both[1 - side]))

    remark = (
        f"the {SIDES[side]} half of each picture is its label map, in {len(colours)} colours; a pixel that compression left with "
        "none of them has the label of the nearest one that has"
    )
    data = make_scenes(NAME, list(map(name_of, colours)), load(train), load(test), (remark,), colours)
    return replace(data, held_out=parts.test is None)


def name_of(colour: Colour) -> str:
    """#rrggbb"""
    return "#" + bytes(colour).hex()


def halves(path: Path, values: Values) -> tuple[Values, Values]:
    """The left and the right half of a picture. Raises DataError."""
    width = values.shape[1]
    if width % 2:
        raise DataError(
            f"picture {path} is {width} pixels wide, an odd number; its halves must be a map and a photograph"
        )
    return values[:, : width // 2], values[:, width // 2 :]


def _read(path: Path) -> Values:
    return np.asarray(read_colour(path, whole=True))


def _parts(folder: Path) -> Parts:
    """The pictures, each as a pair with itself."""
    inside = {entry.name.lower(): entry for entry in folder.iterdir() if entry.is_dir()}
    train = next((inside[name] for name in TRAIN if name in inside), None)
    test = next((inside[name] for name in TEST if name in inside), None)
    both = (train, test) if train is not None and test is not None else (folder, None)
    found = []
    for place in both:
        files = [path for path in files_in(place) if path.suffix.lower() in SUFFIXES] if place else []
        if place and not files:
            raise DataError(f"--data-dir: {place} holds no picture; wanted {FORM}")
        found.append([Pair(path, path, str(path)) for path in files])
    return Parts(found[0], found[1] if both[1] else None)


def _side_of_maps(folder: Path, paths: Sequence[Path], sample: Sequence[tuple[Values, Values]]) -> int:
    """0 where left halves are the maps, 1 where right ones are. Raises DataError, also where one is unlike the others."""
    shares = np.array([[concentration(half) for half in both] for both in sample])
    left, right = shares.mean(0)
    if max(left, right) < LEAST or abs(left - right) < MORE:
        raise DataError(
            f"--data-dir: one half of each picture of {folder} must be a label map, in areas of few colours; areas of {FEW} "
            f"colours have {left:.0%} of the left and {right:.0%} of the right halves"
        )
    side = int(right > left)
    for path, share in zip(paths, shares[:, side], strict=True):
        if share < (usual := np.median(shares[:, side])) / 2:
            raise DataError(
                f"picture {path}: areas of {FEW} colours have {share:.0%} of its {SIDES[side]} half, and {usual:.0%} of those of "
                "the others, which are label maps"
            )
    return side


def _colours_of(folder: Path, paths: Sequence[Path], side: int) -> tuple[Colour, ...]:
    """Raises DataError."""
    colours = find_colours((halves(path, _read(path))[side] for path in paths), MANY - 1)
    if colours is None or len(colours) < 2:
        count = f"{MANY} or more" if colours is None else len(colours)
        raise DataError(
            f"--data-dir: the {SIDES[side]} halves of the pictures of {folder} must be label maps of 2 to {MANY - 1} colours; "
            f"they have {count}"
        )
    return colours


joined_maps = Source(
    NAME,
    "label maps and photographs side by side in one picture each, as pix2pix has them",
    FORM,
    load_joined,
    reader=lambda read: JoinedReader(read.size, read.classes, read.colours) if isinstance(read, MapReader) else read,
)
