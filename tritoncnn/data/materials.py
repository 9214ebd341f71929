"""Patterns for the surfaces of made rooms: noise, planks, tiles, and the photographs brick, grass and gravel of scikit-image.

The photographs (S. van der Walt, CC0) are read from the package. Their left halves are for rooms to train in, their right halves
for rooms to test in, and noise has other seeds there: no pattern is in both parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data.define import Array
from tritoncnn.data.photographs import find
from tritoncnn.data.pictures import read_grey, stretch

SIDE = 128  # of a pattern, which goes on seamlessly on all sides
LEVELS = 5  # of blur: at level i details below 2**i texels are gone
EACH = 4  # patterns of each kind
PHOTOGRAPHED = ("brick", "grass", "gravel")
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """A kind of surface: the two colours that its pattern goes between, and how many metres a pattern covers."""

    pattern: str
    dark: Colour
    light: Colour
    metres: float


PLASTER = Material("plaster", (0.72, 0.69, 0.6), (0.96, 0.94, 0.86), 2.5)
BRICK = Material("brick", (0.35, 0.16, 0.1), (0.85, 0.5, 0.36), 1.8)
PAPER = Material("paper", (0.42, 0.5, 0.62), (0.7, 0.78, 0.9), 1.2)
PLANKS = Material("planks", (0.3, 0.17, 0.07), (0.74, 0.52, 0.3), 1.4)
TILES = Material("tiles", (0.2, 0.24, 0.3), (0.8, 0.84, 0.88), 1.6)
CARPET = Material("grass", (0.1, 0.22, 0.09), (0.5, 0.72, 0.4), 1.8)
GRAVEL = Material("gravel", (0.28, 0.25, 0.2), (0.82, 0.77, 0.66), 1.8)
CLOTH = Material("cloth", (0.25, 0.1, 0.35), (0.75, 0.5, 0.85), 0.7)
MARBLE = Material("marble", (0.3, 0.5, 0.5), (0.85, 0.97, 0.95), 1.5)
RUBBER = Material("plaster", (0.75, 0.16, 0.06), (1.0, 0.45, 0.12), 1.0)


class Patterns:
    """All patterns of a part, f32[LEVELS,SIDE,SIDE] in [0, 1] each, at all levels of blur."""

    def __init__(self, test: bool) -> None:
        """Read photographs and draw noise with a fixed seed. Raises DataError where a photograph is not there."""
        random, rows = np.random.RandomState(int(test)), list[Array]()
        self.first = dict[str, int]()  # of each kind, in texels
        for kind in (*PHOTOGRAPHED, *DRAWN):
            self.first[kind] = len(rows) * LEVELS
            grey = read_grey(find(kind)) if kind in PHOTOGRAPHED else None
            for _ in range(EACH):
                rows.append(_blurred(DRAWN[kind](random) if grey is None else _cut(grey, test, random)))
        self.texels = np.concatenate(rows)  # f32[kinds * EACH * LEVELS, SIDE, SIDE]

    def sample(self, number: NDArray[np.int64], u: Array, v: Array) -> Array:
        """Values f32[R] at (u, v), between the four nearest texels of the patterns of these numbers i64[R]."""
        left, top = np.floor(u), np.floor(v)
        right, down = u - left, v - top
        x0, y0 = left.astype(np.int64) % SIDE, top.astype(np.int64) % SIDE
        x1, y1 = (x0 + 1) % SIDE, (y0 + 1) % SIDE
        plane = number * SIDE * SIDE
        flat = self.texels.reshape(-1)
        above = flat[plane + y0 * SIDE + x0] * (1 - right) + flat[plane + y0 * SIDE + x1] * right
        below = flat[plane + y1 * SIDE + x0] * (1 - right) + flat[plane + y1 * SIDE + x1] * right
        mixed: Array = above * (1 - down) + below * down
        return mixed


def _blurred(pattern: Array) -> Array:
    """f32[SIDE,SIDE] -> f32[LEVELS,SIDE,SIDE]: averages over ever larger places, which go on seamlessly."""
    levels, quarter = [pattern], np.float32(0.25)
    for level in range(1, LEVELS):
        step, before = 1 << (level - 1), levels[-1]
        across = (np.roll(before, step, 1) + 2 * before + np.roll(before, -step, 1)) * quarter
        levels.append((np.roll(across, step, 0) + 2 * across + np.roll(across, -step, 0)) * quarter)
    return np.stack(levels).astype(np.float32)


def _cut(grey: Array, test: bool, random: np.random.RandomState) -> Array:
    """A part of one half of a photograph, mirrored in both directions, so that it goes on seamlessly."""
    half = grey.shape[1] // 2
    own = grey[:, half:] if test else grey[:, :half]
    side = min(random.randint(128, 225), *own.shape)
    top, left = random.randint(own.shape[0] - side + 1), random.randint(own.shape[1] - side + 1)
    part = Image.fromarray(own[top : top + side, left : left + side])
    small = stretch(np.asarray(part.resize((SIDE // 2, SIDE // 2), Image.Resampling.BOX), np.float32))
    whole: Array = np.block([[small, small[:, ::-1]], [small[::-1], small[::-1, ::-1]]])
    return whole


def _noise(random: np.random.RandomState, steepness: float, stretch_y: float = 1.0) -> Array:
    """Seamless noise in [0, 1] whose amplitudes fall with this power of the frequency."""
    y, x = np.meshgrid(np.fft.fftfreq(SIDE) * SIDE * stretch_y, np.fft.fftfreq(SIDE) * SIDE, indexing="ij")
    falls = np.maximum(np.hypot(x, y), 1.0) ** -steepness
    falls[0, 0] = 0
    return stretch(np.fft.ifft2(np.fft.fft2(random.standard_normal((SIDE, SIDE))) * falls).real.astype(np.float32))


def _plaster(random: np.random.RandomState) -> Array:
    return _noise(random, 1.1)


def _paper(random: np.random.RandomState) -> Array:
    """Wallpaper: upright stripes."""
    count = random.choice((4, 8))
    wave = np.sin(np.arange(SIDE) * 2 * np.pi * count / SIDE)
    stripes = np.clip(wave * 3, -1, 1)[None, :] * 0.35 + 0.5
    return np.clip(stripes + 0.3 * (_noise(random, 1.0) - 0.5), 0, 1).astype(np.float32)


def _planks(random: np.random.RandomState) -> Array:
    """Boards of different brightness, with grain along them and dark gaps."""
    count = 8
    wide = SIDE // count
    boards = np.repeat(random.uniform(0.3, 0.8, count), wide)[:, None]
    gaps = np.where(np.arange(SIDE) % wide < 2, 0.0, 1.0)[:, None]
    grain = _noise(random, 0.9, 0.2) - 0.5
    return np.clip((boards + 0.6 * grain) * gaps, 0, 1).astype(np.float32)


def _tiles(random: np.random.RandomState) -> Array:
    """Squares, dark and light by turns."""
    wide = SIDE // random.choice((4, 8))
    odd = np.add.outer(np.arange(SIDE) // wide, np.arange(SIDE) // wide) % 2
    return np.clip(0.25 + 0.5 * odd + 0.35 * (_noise(random, 1.2) - 0.5), 0, 1).astype(np.float32)


def _cloth(random: np.random.RandomState) -> Array:
    """Dots."""
    wave = np.sin(np.arange(SIDE) * 2 * np.pi * random.choice((3, 5)) / SIDE)
    dots = np.clip(np.outer(wave, wave) * 4, -1, 1) * 0.4 + 0.5
    return np.clip(dots + 0.2 * (_noise(random, 1.0) - 0.5), 0, 1).astype(np.float32)


def _marble(random: np.random.RandomState) -> Array:
    """Thin dark veins where noise crosses its middle."""
    veins = np.abs(_noise(random, 1.7) - 0.5) * 8
    return np.clip(veins, 0, 1).astype(np.float32)


DRAWN = {
    "plaster": _plaster, "paper": _paper, "planks": _planks, "tiles": _tiles, "cloth": _cloth, "marble": _marble,
}  # fmt: skip
