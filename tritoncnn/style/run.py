"""Two pictures -> a picture file with the content of one and the style of the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tritoncnn.atomic import check_writable, write_file
from tritoncnn.data.colour import to_array
from tritoncnn.data.values import WRITTEN, encode_levels
from tritoncnn.data.whole import LARGEST, fitted, open_named, open_style, scaled
from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.models.perceptual import RandomFilters, VGGMaps
from tritoncnn.style.paint import Painting, paint
from tritoncnn.train.folder import make_folder
from tritoncnn.train.weights import read_weights, take_weights

DEEP = "features.34.weight"  # VGG-19 has it, VGG-16 ends before
LEAST = 32  # pixels of the shorter side: VGG halves it four times, random filters three
GAP = 4  # white pixels between the pictures of a strip


def paint_files(
    content: str, style: str, how: Painting, out: Path, *, size: int = 256, weights: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Any], tuple[Path, ...]]:  # fmt: skip
    """Write ``out`` and beside it NAME-strip with content, style and result; (what is known of it, for machines, the files).

    ``content``, ``style``: files, or names of ``data.whole.NAMES``. ``size``: pixels of the longer side. ``weights``: a file
    with those of VGG-16 or VGG-19; None: random filters. Raises InputError, DataError, CheckpointError, SaveError,
    NonFiniteError.
    """
    if not 1 <= size <= LARGEST:
        raise InputError(f"--size must be from 1 to {LARGEST}; got {size}")
    if out.suffix.lower() not in WRITTEN:
        raise InputError(f"--out {out} must end in one of {', '.join(WRITTEN)}")
    maps = None if weights is None else load_vgg(weights)
    shown = scaled(open_named(content, whole=True), size)
    if min(shown.size) < LEAST:
        raise InputError(
            f"picture {content} must have at least {LEAST} pixels along each side to be painted; "
            f"it has {shown.width} x {shown.height} at --size {size}"
        )
    model = fitted(open_style(style, whole=True), shown.size)
    levels = RandomFilters.levels_for(min(shown.size))
    by = f"VGG of {weights}" if maps else f"untrained random filters on pictures of {levels} sizes"
    features = maps or RandomFilters(levels=levels, seed=how.seed)
    tell(f"{shown.width} x {shown.height} pixels, compared by {by}")
    make_folder(out.parent)
    check_writable(out)  # told now, not after minutes
    every = max(1, how.steps // 8)

    def progress(step: int, loss: float) -> None:
        if step % every == 0 or step in (1, how.steps):
            tell(f"step {step} of {how.steps}: loss {loss:.4g}")

    found = paint(features, _tensor(shown), _tensor(model), how, progress)
    values = np.rint(found.picture[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    files = (out, out.with_name(f"{out.stem}-strip{out.suffix}"))
    write_file(files[0], encode_levels(values, out.suffix))
    write_file(files[1], encode_levels(strip([shown, model, Image.fromarray(values)]), out.suffix))
    note = {
        "content": content, "style": style, "size": [shown.width, shown.height],
        "features": "random" if weights is None else str(weights), **vars(how), "launches": found.launches,
        "before": found.before, "after": found.after,
    }  # fmt: skip
    return note, files


def load_vgg(path: Path) -> VGGMaps:
    """Maps of the VGG-16 or VGG-19 whose weights a file has, under torchvision's names; full layers are left out.

    Raises CheckpointError.
    """
    first = "features.0.weight"
    found = {name: tensor for name, tensor in read_weights(path, (first,)).items() if name.startswith("features.")}
    if not found:
        raise CheckpointError(f"{path} must hold the weights of VGG-16 or VGG-19 under torchvision's names, {first}...")
    maps = VGGMaps(deep=DEEP in found)
    deepest = len(maps.features)
    take_weights(maps, {n: t for n, t in found.items() if not _behind(n, deepest)}, path, frozenset())
    return maps


def _behind(name: str, deepest: int) -> bool:
    """Whether a tensor belongs to a layer behind the last that is needed."""
    place = name.split(".")[1]
    return place.isdecimal() and int(place) >= deepest


def strip(pictures: list[Image.Image]) -> np.ndarray:
    """u8[H,W,3]: pictures of one height side by side."""
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    page = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    left = 0
    for picture in pictures:
        page.paste(picture, (left, 0))
        left += picture.width + GAP
    return np.asarray(page)


def _tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(to_array(picture))[None]
