"""Depth maps: files of 16 bits a pixel -> metres, and a data set of pictures with the depth at each pixel. 0 metres: not
known.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from tritoncnn.data.boxes import FittedReader, check_fitted, fitted
from tritoncnn.data.define import Array, Dataset, Examples, Reader, Source, facts_of
from tritoncnn.data.folder import unwrapped
from tritoncnn.data.paired import DEPTHS, ON_DISK, Pair, find_pairs, part_pairs, read_pairs
from tritoncnn.data.pictures import open_picture, read_colour
from tritoncnn.data.stream import STREAM, PictureFiles, content_of, inputs_of, seen
from tritoncnn.errors import DataError
from tritoncnn.flags import FROM_0, option

MILLIMETRES, KITTIS = 1000.0, 256.0  # steps of a metre, as NYU's depth maps and KITTI's have them
DENSE, DENSES = "nyu2_train", 25.5  # a folder of maps of 8 bits, 255 being 10 m (Alhashim & Wonka 2018, "DenseDepth")
# KITTI's maps are wider than high by more than this, and known at a smaller share of their pixels.
WIDE, SPARSE = 2.5, 0.5
LOOKED = 4  # maps that are asked whether they look so
KITTI = frozenset(("proj_depth", "groundtruth_depth"))  # names of folders
DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's names for one channel of 16 bits
FARTHEST = 1e5  # metres: what is farther is not known
FULL = 65535  # the largest step of 16 bits: that far or farther, so it is not known
# Words in paths of what is large where depth is small.
INVERSE = re.compile(r"disp(arity|arities|s)?\d*", re.IGNORECASE)
# Metres between which the middle depth of a data set lies, or it is asked whether these are metres.
USUAL = (0.3, 300.0)


def read_depth(path: Path, scale: float = MILLIMETRES) -> Array:
    """Depth f32[H,W] in metres of a file of 16 bits a pixel in steps of 1 / ``scale`` metres, or of f32 in metres; upright.

    Of DenseDepth's folder for training, of 8 bits a pixel.

    What is 0, the largest of 16 bits, negative, not finite or absurdly far becomes 0: not known. Raises DataError for files of 8
    bits and of colours.
    """

    def decode(picture: Image.Image) -> Array:
        dense = picture.mode == "L" and DENSE in path.parts
        if picture.mode != "F" and picture.mode not in DEEP and not dense:
            held = f"{len(picture.getbands())} channels of 8 bits" if len(picture.getbands()) > 1 else "8 bits a pixel"
            raise DataError(
                f"depth map {path} has {held} (mode {picture.mode}); wanted one channel of 16 bits, as NYU has it in "
                "millimetres and KITTI in 1/256 metres (--depth-scale), or of 32-bit floats in metres"
            )
        values = np.asarray(ImageOps.exif_transpose(picture)).astype(np.float32)
        if picture.mode in DEEP:
            values = np.where(values == FULL, np.float32(0), values)
        depth = values if picture.mode == "F" else values / np.float32(DENSES if dense else scale)
        with np.errstate(invalid="ignore"):  # NaN is not known either
            return np.where((depth > 0) & (depth < FARTHEST), depth, np.float32(0))

    return open_picture(path, decode)


def write_depth(depth: Array) -> Image.Image:
    """A picture of 16 bits a pixel with a depth map f32[H,W] in millimetres; what is not nearer than 65.535 m becomes 0: not
    known.
    """
    steps = np.round(depth.astype(np.float64) * MILLIMETRES)
    return Image.fromarray(np.where((steps > 0) & (steps < FULL), steps, 0).astype(np.uint16))


def fit_depth(depth: Array, size: int) -> Array:
    """f32[H,W] -> f32[size,size], as ``FittedReader`` fits its picture: the mean of the depths that are known in each new pixel.

    Where a map grows, each new pixel takes its nearest one, so that no depth is made up between two things. What is left over is
    not known.
    """
    H, W = depth.shape
    width, height = fitted(W, H, size)
    how = Image.Resampling.BOX if max(H, W) > size else Image.Resampling.NEAREST
    total, share = (
        np.asarray(Image.fromarray(values).resize((width, height), how), np.float32)
        for values in (depth, (depth > 0).astype(np.float32))
    )
    found = np.zeros((size, size), np.float32)
    np.divide(total, share, out=found[:height, :width], where=share > 1e-4)
    return found


@dataclass(frozen=True)
class DepthPart:
    """Pictures f32[N,3,S,S] in [0, 1], in memory or on disk, and depths f32[N,S,S] in metres."""

    pictures: Array | PictureFiles
    depths: Array


def make_depths(name: str, train: DepthPart, test: DepthPart, remarks: tuple[str, ...] = ()) -> Dataset:
    """Normalise pictures by mean and deviation of the training part. Raises DataError where a part has no known depth."""
    for what, part in (("training", train), ("test", test)):
        if not len(part.pictures):
            raise DataError(f"{name}: there are no {what} pictures")
        if not (part.depths > 0).any():
            raise DataError(f"{name}: no pixel of the {what} depth maps has a known depth (above 0)")
    facts, digest = facts_of(name, (), seen(train.pictures)), hashlib.sha256(b"depths")
    parts = []
    for part in (train, test):
        parts.append(Examples(inputs_of(part.pictures, facts), torch.from_numpy(part.depths)))
        for piece in (*content_of(parts[-1].x), part.depths.data):
            digest.update(piece)
    known = [round(float((part.depths > 0).mean()), 4) for part in (train, test)]
    note = {
        "train_pictures": len(parts[0]),
        "test_pictures": len(parts[1]),
        "train_known": known[0],
        "test_known": known[1],
    }
    metres = train.depths[train.depths > 0]
    middle = float(np.median(metres))
    if not USUAL[0] <= middle <= USUAL[1]:
        asked = "are these metres? --depth-scale tells how many steps of 16 bits are one, and floats must be metres"
        remarks = (*remarks, f"{name}: the middle depth of the training maps is {middle:.3g} m: {asked}")
    about = (
        f"{len(parts[0])} + {len(parts[1])} pictures (training + test) with depth at {known[0]:.0%} and {known[1]:.0%} of their "
        f"pixels, from {metres.min():.2f} to {metres.max():.2f} m, {middle:.2f} in the middle"
    )
    return Dataset(name, facts, parts[0], parts[1], digest.hexdigest(), note, remarks, about)


def load_depths(folder: Path, read: Reader, scale: float, stream: bool = False) -> Dataset:
    """A folder of pictures with depth maps beside them, as ``paired.py`` finds them; with ``stream`` pictures are left on disk.

    Raises DataError.
    """
    fit, folder = check_fitted("depths", read), unwrapped(folder)
    found = find_pairs(folder, DEPTHS)
    train, test = part_pairs("depths", found)
    for pair in (*train, *test):
        if any(map(INVERSE.fullmatch, re.split(r"[/_.-]+", os.path.relpath(pair.beside, folder)))):
            raise DataError(
                f"depth map {pair.beside} is called a disparity, which is large where depth is small; wanted depth, which is "
                "the focal length in pixels x the baseline / disparity"
            )
    steps, why = (scale, "") if scale else _steps_of(train)
    parts = [_read(pairs, fit, steps, folder if stream else None) for pairs in (train, test)]
    data = make_depths("depths", parts[0], parts[1], (*found.remarks, *([why] if why else [])))
    return replace(data, held_out=found.test is None)


def _steps_of(pairs: Sequence[Pair]) -> tuple[float, str]:
    """Steps of a metre by the folders and the look of depth maps, and why they are not millimetres. Raises DataError."""
    said = f"depth maps are taken to have {KITTIS:g} steps a metre, as KITTI's have: {{}}; --depth-scale says otherwise"
    if KITTI.intersection(pairs[0].beside.parts):
        return KITTIS, said.format("they lie in a folder of its name")
    maps = [read_depth(pair.beside) for pair in pairs[:LOOKED]]
    if all(depth.shape[1] > WIDE * depth.shape[0] and (depth > 0).mean() < SPARSE for depth in maps):
        return KITTIS, said.format("they are wide, and the depth of most of their pixels is not known")
    return MILLIMETRES, ""


def _read(pairs: Sequence[Pair], fit: FittedReader, scale: float, stream: Path | None) -> DepthPart:
    def depth(pair: Pair, size: tuple[int, int]) -> Array:
        return fit_depth(read_depth(pair.beside, scale), fit.size)

    def both(pair: Pair, size: tuple[int, int]) -> tuple[Array, Array]:
        return fit.fit(read_colour(pair.picture), size), depth(pair, size)

    if stream is not None:
        depths = read_pairs("depths", pairs, DEPTHS, depth, 4 * fit.size**2)
        shape = torch.Size((len(pairs), 3, fit.size, fit.size))
        return DepthPart(PictureFiles(tuple(pair.picture for pair in pairs), stream, fit, shape), np.stack(depths))
    rows = read_pairs("depths", pairs, DEPTHS, both, 16 * fit.size**2, ON_DISK)
    return DepthPart(*(np.stack(values) for values in zip(*rows, strict=True)))


depths = Source(
    "depths",
    "pictures with depth maps of 16 bits beside them, as NYU and KITTI have them",
    DEPTHS.form,
    lambda folder, read, depth_scale, stream: load_depths(folder, read, depth_scale, stream),
    options=(
        option(
            "depth_scale", 0.0, "Steps of a metre in 16-bit depth maps (0: 256 where they are, or look as, KITTI's; else 1000).",
            FROM_0,
        ),
        STREAM,
    ),
)  # fmt: skip
