"""Optical flow: where each pixel of a frame is in the next one. Files in Middlebury's .flo format, and KITTI's PNG.

Sources: Baker et al. 2011, "A database and evaluation methodology for optical flow"; the format is that of its flow-code. Menze &
Geiger 2015, "Object scene flow for autonomous vehicles"; the format is that of its development kit.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from tritoncnn.data.define import Array
from tritoncnn.data.files import read_file
from tritoncnn.data.pictures import MAX_BYTES, MAX_PIXELS, open_picture
from tritoncnn.errors import DataError

MAGIC = 202021.25  # the four bytes PIEH as a little-endian float: a file of the other order is told by it
HEADER = 12
UNKNOWN = 1e9  # pixels whose flow is not known have a larger one
MIDDLE, STEPS = 1 << 15, 64  # of a value of 16 bits: which one is 0, and steps of a pixel
DEEP = "RGB;16B"  # Pillow's name of colours of 16 bits, of which it gives the upper 8
LOWER = "RGB;16L"  # of their bytes the other ones


def read_flow(path: Path) -> Array:
    """As ``read_flo``, of a .flo file or a PNG of KITTI's. Raises DataError."""
    return read_kitti(path) if path.suffix.lower() == ".png" else read_flo(path)


def read_kitti(path: Path) -> Array:
    """f32[2,H,W] of a PNG of three channels of 16 bits: (value - 2^15) / 64 pixels to the right and down, and 0 where not known.

    NaN where not known. Raises DataError: unreadable, no PNG, another kind of picture.
    """
    upper, lower = (open_picture(path, partial(_bytes_of, path, part)) for part in (DEEP, LOWER))
    values = (256 * upper + lower).transpose(2, 0, 1).astype(np.float32)
    return np.where(values[2] > 0, (values[:2] - MIDDLE) / STEPS, np.float32(np.nan)).astype(np.float32)


def _bytes_of(path: Path, part: str, picture: Image.Image) -> np.ndarray:
    """i32[H,W,3]: the upper or the lower 8 bits of each value."""
    tiles = getattr(picture, "tile", [])
    if picture.format != "PNG" or any(tile[3] != DEEP for tile in tiles):
        raise DataError(
            f"flow {path} must be a PNG of three channels of 16 bits, as KITTI has it; got {picture.format}, {picture.mode}"
        )
    picture.tile = [(*tile[:3], part) for tile in tiles]  # type: ignore[attr-defined]
    return np.asarray(picture).astype(np.int32)


def read_flo(path: Path) -> Array:
    """f32[2,H,W]: pixels to the right and down from each pixel of a frame to where it is in the next; NaN where not known.

    Raises DataError: unreadable, wrong magic, a size that does not fit the file.
    """
    data = read_file(path, "flow", MAX_BYTES)
    if len(data) < HEADER:
        raise DataError(f"flow {path} must have {HEADER} bytes before its pixels; it has {len(data)}")
    magic = np.frombuffer(data, "<f4", 1)[0]
    if magic != np.float32(MAGIC):
        raise DataError(
            f"flow {path} must begin with the number {MAGIC} (the bytes PIEH) as .flo files do; got {data[:4]!r}"
        )
    width, height = (int(side) for side in np.frombuffer(data, "<i4", 2, 4))
    if not (width > 0 and height > 0 and width * height <= MAX_PIXELS):
        raise DataError(f"flow {path} must have from 1 to {MAX_PIXELS} pixels; got {width} x {height}")
    wanted = HEADER + 8 * width * height
    if len(data) != wanted:
        raise DataError(f"flow {path} must have {wanted} bytes, as {width} x {height} pixels take; it has {len(data)}")
    flow = np.frombuffer(data, "<f4", 2 * width * height, HEADER).reshape(height, width, 2).transpose(2, 0, 1)
    with np.errstate(invalid="ignore"):
        known = np.isfinite(flow) & (np.abs(flow) < UNKNOWN)
    return np.where(known.all(0), flow, np.float32(np.nan)).astype(np.float32)


def write_flo(flow: Array) -> bytes:
    """The .flo file of f32[2,H,W]."""
    height, width = flow.shape[1:]
    head = np.array([MAGIC], "<f4").tobytes() + np.array([width, height], "<i4").tobytes()
    return head + np.ascontiguousarray(flow.transpose(1, 2, 0), "<f4").tobytes()


def places_of(flow: Array) -> Array:
    """f32[2,H,W] of flow -> where each pixel is in the next frame, in its pixels, (x, y); the middle of the first is (0, 0)."""
    height, width = flow.shape[1:]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return flow + np.stack([x, y])


def grid_of(flow: Array) -> Array:
    """f32[H,W,2] for ``grid_sample(next, grid, align_corners=False)``, which takes the next frame back to this one."""
    height, width = flow.shape[1:]
    sides = np.array([width, height], np.float32).reshape(2, 1, 1)
    grid = (2 * places_of(flow) + 1) / sides - 1
    return np.ascontiguousarray(np.nan_to_num(grid, nan=0.0).transpose(1, 2, 0))


def inside(flow: Array) -> np.ndarray:
    """bool[H,W]: which pixels are still in the picture in the next frame, and have a flow that is known."""
    height, width = flow.shape[1:]
    x, y = places_of(flow)
    with np.errstate(invalid="ignore"):
        return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def sampled(picture: Array, flow: Array) -> Array:
    """f32[C,H,W] of the next frame -> taken back along the flow, between four pixels each; the edge goes on outside."""
    height, width = picture.shape[1:]
    x, y = np.nan_to_num(places_of(flow), nan=0.0)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = x - left, y - top
    above = picture[:, top, left] * (1 - across) + picture[:, top, right] * across
    below = picture[:, bottom, left] * (1 - across) + picture[:, bottom, right] * across
    return (above * (1 - down) + below * down).astype(np.float32)
