"""Photographs with noise added, and as they were: pieces of those of ``photographs.py``, or of pictures of your own.

The noise is Gaussian, the same in every run: it is added when the data are loaded, and cut to what a file can hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tritoncnn.data.colour import to_array
from tritoncnn.data.define import Array, Dataset, Facts, Reader, Source
from tritoncnn.data.folder import files_in
from tritoncnn.data.maps import MappedPart, make_mapped
from tritoncnn.data.paired import Pair, Parts, part_pairs
from tritoncnn.data.pasted import HELD_BACK
from tritoncnn.data.photographs import FILES, find, reduced
from tritoncnn.data.pictures import SUFFIXES, read_colour
from tritoncnn.data.pieces import check_pieces
from tritoncnn.errors import DataError
from tritoncnn.flags import Rule, option

PIECES = {"train": 1200, "test": 120}
NOISE = 0.1
AS_THEY_ARE = Facts((), (0.0,) * 3, (1.0,) * 3)  # a net that takes noise away gives pictures of the same kind
OPTION = option(
    "noise", NOISE, "Standard deviation of the noise that is added; white is 1.",
    Rule("above 0 and at most 1", lambda value: 0 < value <= 1),
)  # fmt: skip


def add_noise(pictures: Array, noise: float, random: np.random.RandomState) -> Array:
    """Pictures f32 in [0, 1] with Gaussian noise, cut to [0, 1] and rounded to 256 levels, as in a file."""
    noisy = np.clip(pictures + noise * random.standard_normal(pictures.shape), 0, 1)
    return (np.round(noisy * 255) / 255).astype(np.float32)


def load_noisy(size: int, noise: float) -> Dataset:
    """Pieces of ``size`` x ``size`` of photographs; those of the test part show none of the training part's."""
    names = {"train": [n for n in FILES if n not in HELD_BACK], "test": list(HELD_BACK)}
    opened = {part: [reduced(read_colour(find(name))) for name in some] for part, some in names.items()}
    return _make("noisy", opened, size, noise)


def load_own(folder: Path | None, read: Reader, noise: float) -> Dataset:
    """The same of the pictures of a folder, a fifth of which are for testing. Raises DataError."""
    assert folder is not None, "load_data asks for one"
    size = check_pieces("noisy-folder", read).size
    files = [path for path in files_in(folder) if path.suffix.lower() in SUFFIXES]
    if len(files) < 2:
        raise DataError(f"folder {folder} must hold at least 2 pictures, one of them for testing; got {len(files)}")
    parts = part_pairs("noisy-folder", Parts([Pair(path, path, str(path)) for path in files], None))
    opened: dict[str, list[Image.Image]] = {}
    for part, pairs in zip(PIECES, parts, strict=True):
        opened[part] = [read_colour(pair.picture) for pair in pairs]
        for pair, picture in zip(pairs, opened[part], strict=True):
            if min(picture.size) < size:
                told = f"{picture.width} x {picture.height}"
                raise DataError(f"picture {pair.picture} is {told}; wanted at least {size} x {size}, the --size")
    return _make("noisy-folder", opened, size, noise)


def _make(name: str, opened: dict[str, list[Image.Image]], size: int, noise: float) -> Dataset:
    parts = []
    for number, (part, pictures) in enumerate(opened.items()):
        random = np.random.RandomState(number)
        clean = np.stack([_piece(pictures, size, random) for _ in range(PIECES[part])])
        parts.append(MappedPart(add_noise(clean, noise, random), clean))
    return make_mapped(name, (), parts[0], parts[1], more={"noise": noise}, facts=AS_THEY_ARE)


def _piece(pictures: Sequence[Image.Image], size: int, random: np.random.RandomState) -> Array:
    """A piece f32[3,size,size] of one of them, mirrored or not, in its own pixels."""
    picture = pictures[random.randint(len(pictures))]
    left, top = random.randint(picture.width - size + 1), random.randint(picture.height - size + 1)
    piece = to_array(picture.crop((left, top, left + size, top + size)))
    return np.ascontiguousarray(piece[:, :, ::-1]) if random.randint(2) else piece


noisy = Source(
    "noisy",
    "pieces of photographs of scikit-image and scikit-learn, with noise added",
    "",
    lambda folder, read, noise: load_noisy(check_pieces("noisy", read).size, noise),
    (OPTION,),
)
noisy_folder = Source(
    "noisy-folder", "pictures of your own, with noise added", "a folder of pictures", load_own, (OPTION,)
)
