"""Pairs of frames made of photographs: a pan and a zoom over one, in front of which a piece of another moves by itself.

Made, not filmed: the flow is exact, and so is the mask of what is to be seen in both frames. Parted by photograph.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from tritoncnn.data.canvas import HELD, PATCH, STYLE, crop, grams_of, make_canvases, photographs, spread
from tritoncnn.data.colour import to_array
from tritoncnn.data.define import Array, Dataset, Examples, Reader, Source
from tritoncnn.data.flow import grid_of, inside, places_of, sampled

TRAIN, TEST = 400, 32  # pairs in all
SHIFT = 5.0  # pixels of a pan at most, either way
ZOOM = 0.06  # of the size, in or out
PIECE = (0.25, 0.45)  # of the frame's side: the moving piece's
STEP = 6  # pixels that it moves at most, either way: whole ones, so that it looks alike in both


class Pair(NamedTuple):
    """Two frames f32[3,S,S]; the flow f32[2,S,S] from the first to the second; bool[S,S]: what is to be seen in both."""

    now: Array
    then: Array
    flow: Array
    seen: np.ndarray


def make_pair(back: Image.Image, front: Image.Image, size: int, random: np.random.RandomState) -> Pair:
    """One pair of size x size pixels of a photograph, with a piece of another before it."""
    side = min(min(back.size) / 1.2, random.uniform(1.0, 2.5) * size)
    scale = side / size  # pixels of the photograph per pixel
    zoom = 1 + random.uniform(-ZOOM, ZOOM)
    shift = random.uniform(-SHIFT, SHIFT, 2) * scale
    room = np.array(back.size) - max(side, side * zoom)
    first = random.uniform(0, 1, 2) * room
    second = np.clip(first + shift, 0, room)
    frames = [_window(back, corner, length, size) for corner, length in ((first, side), (second, side * zoom))]
    y, x = np.mgrid[:size, :size].astype(np.float64)
    there = [((p + 0.5) * scale + a - b) / (scale * zoom) - 0.5 for p, a, b in zip((x, y), first, second, strict=True)]
    flow = np.stack([there[0] - x, there[1] - y]).astype(np.float32)
    covered, flow = _lay(crop(front, size, random, True), frames, flow, random)
    seen = inside(flow) & ~covered
    return Pair(frames[0], frames[1], flow, seen)


def _window(picture: Image.Image, corner: np.ndarray, side: float, size: int) -> Array:
    box = (*corner, *(corner + side))
    return to_array(picture.resize((size, size), Image.Resampling.BICUBIC, box=tuple(map(float, box))))  # type: ignore[arg-type]


def _lay(piece: Array, frames: list[Array], flow: Array, random: np.random.RandomState) -> tuple[np.ndarray, Array]:
    """Lay an ellipse of ``piece`` before both frames, moved; (bool[S,S] what it hides in the second frame, the new flow)."""
    size = piece.shape[1]
    radii = random.uniform(*PIECE, 2) * size / 2
    move = random.randint(-STEP, STEP + 1, 2)
    middle = random.uniform(0, size, 2)
    y, x = np.mgrid[:size, :size]

    def ellipse(centre: np.ndarray) -> np.ndarray:
        return (((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2) <= 1

    first, second = ellipse(middle), ellipse(middle + move)
    moved = np.roll(piece, (move[1], move[0]), (1, 2))
    for frame, where, what in ((frames[0], first, piece), (frames[1], second, moved)):
        frame[:, where] = what[:, where]
    hidden = sampled(second[None].astype(np.float32), flow)[0] > 0  # of any of the four pixels that are mixed
    flow = np.where(first, move.reshape(2, 1, 1).astype(np.float32), flow)
    target = places_of(flow)
    wraps = (target[0] < 0) | (target[0] > size - 1) | (target[1] < 0) | (target[1] > size - 1)
    return (hidden & ~first) | (first & wraps), flow


def pair_examples(pairs: list[Pair], grams: list[torch.Tensor]) -> Examples:
    """x: both frames of a pair f32[N,6,S,S]; y: style, content, and the way back from the second frame to the first."""
    x = torch.from_numpy(np.stack([np.concatenate([pair.now, pair.then]) for pair in pairs]))
    y = {
        "style": spread(grams, len(pairs)),
        "content": x,
        "grid": torch.from_numpy(np.stack([grid_of(pair.flow) for pair in pairs])),
        "seen": torch.from_numpy(np.stack([pair.seen[None] for pair in pairs]).astype(np.float32)),
    }
    return Examples(x, y)


def load_pans(folder: Path | None, read: Reader, *, style: str, patch: int) -> Dataset:
    """Raises DataError."""
    grams, random = grams_of(style), np.random.RandomState(0)
    parts = []
    for held, count in ((False, TRAIN), (True, TEST)):
        found = photographs(held)
        pairs = [
            make_pair(found[i % len(found)], found[random.randint(len(found))], patch, random) for i in range(count)
        ]
        parts.append(pair_examples(pairs, grams))
    remark = f"pans and zooms over photographs, made, not filmed; those for testing are over others: {', '.join(HELD)}"
    return make_canvases("pans", parts[0], parts[1], (remark,))


pans = Source(
    "pans", "pairs of frames, pans and zooms over photographs, made, and a style", "", load_pans, (STYLE, PATCH)
)
