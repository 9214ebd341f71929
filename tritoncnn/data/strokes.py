"""A style that is made, not painted by anybody: short thick strokes along swirls, yellow in the middle of these, blue around."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

SIZE = 256  # pixels of a side
STROKES, SWIRLS = 5000, 7
BLUES = ((24, 44, 92), (36, 78, 150), (60, 120, 190), (120, 170, 205))  # dark to light
ODD = ((18, 28, 60), (70, 140, 150))  # now and then among them
YELLOWS = ((240, 200, 80), (250, 230, 150))


def draw_strokes(seed: int = 0) -> Image.Image:
    """An RGB picture of SIZE x SIZE, drawn at twice the size; the same for the same seed."""
    random, side = np.random.RandomState(seed), 2 * SIZE
    picture = Image.new("RGB", (side, side), BLUES[0])
    draw = ImageDraw.Draw(picture)
    middles = random.uniform(0, side, (SWIRLS, 2))
    turns = random.choice([-1.0, 1.0], SWIRLS)
    reach = random.uniform(0.12, 0.3, SWIRLS) * side
    coarse = Image.fromarray(random.randint(0, 256, (9, 9), np.uint8))
    shade = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float64) / 255
    for _ in range(STROKES):
        place = random.uniform(0, side, 2)
        offsets = place - middles
        yellow = np.exp(-(offsets**2).sum(1) / (0.35 * reach) ** 2).max() > random.uniform(0.3, 0.9)
        tone = shade[int(place[1]), int(place[0])] * 5 + random.normal(0, 0.8)
        blue = BLUES[int(np.clip(tone, 0, 3.99))] if random.rand() < 0.85 else ODD[random.randint(len(ODD))]
        colour = YELLOWS[random.randint(len(YELLOWS))] if yellow else blue
        line = [tuple(place)]
        for _ in range(random.randint(5, 11)):
            place = place + 5 * _direction(place, middles, turns, reach)
            line.append(tuple(place))
        ink = np.clip(np.array(colour) + random.normal(0, 10, 3), 0, 255).astype(int)
        draw.line(line, fill=tuple(ink.tolist()), width=int(random.randint(5, 10)), joint="curve")
    return picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _direction(place: np.ndarray, middles: np.ndarray, turns: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Along the swirls near ``place``, far from all of them to the right: a vector of length 1."""
    x, y = (place - middles).T
    weight = 4 * np.exp(-(x * x + y * y) / reach**2) * turns / np.maximum(np.hypot(x, y), 1e-6)
    along = np.array([1.0 - (y * weight).sum(), 0.25 + (x * weight).sum()])
    return along / max(float(np.hypot(*along)), 1e-6)
