"""What every net that paints in one style learns from: pictures without labels, and the style's Gram matrices as the target."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from tritoncnn.data.colour import to_array
from tritoncnn.data.define import Array, Dataset, Examples, Facts
from tritoncnn.data.photographs import FILES, find, reduced
from tritoncnn.data.pictures import read_colour
from tritoncnn.data.whole import STROKES, open_style, scaled
from tritoncnn.flags import Rule, option
from tritoncnn.models.perceptual import RandomFilters, gram

HELD = ("cat", "temple")  # photographs of which no pixel is trained on
LEFT = ("galaxies", "retina")  # mostly black
SIDE = 256  # pixels of the style's longer side
FILTERS, LEVELS = 32, 4  # of the random filters that compare
STYLE = option("style", STROKES, "Picture whose style is learned: a file, strokes (made), tissue...", metavar="PICTURE")
SIDES = Rule("from 32 to 512, by steps of 8", lambda side: 32 <= side <= 512 and side % 8 == 0)
PATCH = option("patch", 64, "Side of training patches in pixels.", SIDES)
NOTHING = Facts((), (), ())  # pictures from 0 to 1 are taken as they are


def new_features() -> RandomFilters:
    """The frozen net by which pictures are compared."""
    return RandomFilters(FILTERS, LEVELS)


def grams_of(style: str) -> list[torch.Tensor]:
    """f32[1,K,K] of each level, of the style picture. Raises DataError."""
    picture = to_array(scaled(open_style(style), SIDE))
    with torch.no_grad():
        return [gram(maps) for maps in new_features()(torch.from_numpy(picture)[None]).style]


def spread(grams: list[torch.Tensor], examples: int) -> list[torch.Tensor]:
    """The same matrices for each example, without copies."""
    return [matrix.expand(examples, -1, -1) for matrix in grams]


def photographs(held: bool) -> list[Image.Image]:
    """Those for testing, or those for training. Raises DataError."""
    return [reduced(read_colour(find(name))) for name in FILES if name not in LEFT and (name in HELD) == held]


def make_canvases(name: str, train: Examples, test: Examples, remarks: tuple[str, ...]) -> Dataset:
    """A data set of pictures without labels."""
    digest = hashlib.sha256()
    for part in (train, test):
        for tensor in _distinct(part):
            digest.update(np.ascontiguousarray(tensor.numpy()).data)
    note = {"train_pictures": len(train), "test_pictures": len(test)}
    return Dataset(name, NOTHING, train, test, digest.hexdigest(), note, remarks)


def _distinct(part: Examples) -> Iterator[torch.Tensor]:
    """All tensors of a part; of what is the same for each example one row."""
    yield part.x
    for values in part.y.values():
        for tensor in values if isinstance(values, list) else [values]:
            yield tensor[:1] if tensor.stride(0) == 0 else tensor


def crop(picture: Image.Image, size: int, random: np.random.RandomState, vary: bool) -> Array:
    """f32[3,size,size]: a square of 1 to 3 times the size, anywhere, mirrored or not; where it may not vary, of twice that."""
    most = min(picture.size)
    side = min(most, random.randint(size, 3 * size + 1) if vary else 2 * size)
    left, top = random.randint(picture.width - side + 1), random.randint(picture.height - side + 1)
    box = (left, top, left + side, top + side)
    patch = to_array(picture.resize((size, size), Image.Resampling.BILINEAR, box=box))
    return np.ascontiguousarray(patch[:, :, ::-1]) if vary and random.randint(2) else patch
