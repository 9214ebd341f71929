"""A slightly different hand: a picture turned, slanted, narrowed, moved and inked anew."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from tritoncnn.data.pictures import Grey


def warp(picture: Grey, random: np.random.RandomState) -> Grey:
    """f32[H,W] in [0, 1] -> the same, under a random affine map about the middle and a random contrast.

    Turned by up to 10 degrees, slanted by up to 0.25, 0.6 to 1 times as wide, 0.9 to 1.05 times as high, moved by up to
    one pixel; edges up to 2.5 times as steep, ink up to a fifth heavier or lighter.
    """
    angle = math.radians(random.uniform(-10, 10))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    slant = np.array([[1, random.uniform(-0.25, 0.25)], [0, 1]])
    scale = np.diag([random.uniform(0.6, 1.0), random.uniform(0.9, 1.05)])
    back = np.linalg.inv(turn @ slant @ scale)  # Pillow asks where each pixel of the result comes from
    middle = (np.array(picture.shape[::-1]) - 1) / 2
    move = middle - back @ middle + random.uniform(-1, 1, 2)
    affine = (back[0, 0], back[0, 1], move[0], back[1, 0], back[1, 1], move[1])
    size = picture.shape[::-1]
    moved = Image.fromarray(picture).transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    steepness, weight = random.uniform(1.0, 2.5), random.uniform(0.8, 1.2)
    inked = np.clip((np.asarray(moved, np.float32) - 0.5) * steepness + 0.5 * weight, 0, 1)
    return inked.astype(np.float32)
