"""Scanned digits pasted in light colours on dimmed photographs: where is which? Made, of real scans and real photographs.

The scans are scikit-learn's, the photographs those of ``photographs.py``, with their licences. Neither a photograph nor a scan
is in both parts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data.boxes import BoxedPart, check_fitted, make_boxed_pictures
from tritoncnn.data.define import Array, Dataset, Source, hold_out
from tritoncnn.data.photographs import FILES, find, reduced
from tritoncnn.data.pictures import read_colour

HELD_BACK = ("coffee", "flower", "gravel", "rocket")  # photographs for testing
PICTURES = {"train": 2400, "test": 300}
MOST = 6  # digits of a picture
GROUND = (0.2, 0.7)  # shares of a photograph's shorter side that a picture shows
HEIGHTS = (0.25, 0.5)  # of a digit, as shares of the picture's side
INK = 0.3  # a pixel belongs to a digit from this share of ink on
DIMMED = (0.3, 0.7)  # what a photograph's values are multiplied by
LIGHT = 0.6  # least value of each channel of a digit's colour
COMMON = 0.1  # largest share of its own area that a digit has in common with another's box
TRIES = 20


def load_pasted(size: int) -> Dataset:
    """Draw pictures of ``size`` x ``size`` with a fixed seed."""
    from sklearn import datasets  # late: scikit-learn takes a second

    raw = datasets.load_digits()
    test = hold_out(raw.target)
    parts = []
    for number, (part, chosen) in enumerate((("train", ~test), ("test", test))):
        names = [name for name in FILES if (name in HELD_BACK) == (part == "test")]
        grounds = [reduced(read_colour(find(name))) for name in names]
        scans, labels = raw.images[chosen].astype(np.float32) / 16, raw.target[chosen]
        random = np.random.RandomState(number)
        made = [_draw(grounds, scans, labels, size, random) for _ in range(PICTURES[part])]
        parts.append(BoxedPart(np.stack([picture for picture, _ in made]), [boxes for _, boxes in made]))
    remark = "the pictures are made: scans of digits pasted on photographs; no scan and no photograph is in both parts"
    return make_boxed_pictures("pasted", [str(digit) for digit in range(10)], parts[0], parts[1], (remark,))


def _draw(
    grounds: list[Image.Image], scans: Array, labels: NDArray[np.int64], size: int, random: np.random.RandomState
) -> tuple[Array, Array]:
    """A picture f32[3,size,size] in [0, 1] and its boxes f32[any,5]."""
    picture = ground(grounds[random.randint(len(grounds))], size, random)
    boxes: list[tuple[float, ...]] = []
    unit = np.array([1, size, size, size, size], np.float32)  # shares are of the picture's side
    for _ in range(random.randint(MOST + 1)):
        number = random.randint(len(scans))
        ink = write(scans[number], size, random)
        height, width = ink.shape
        for _ in range(TRIES):
            top, left = random.randint(size - height + 1), random.randint(size - width + 1)
            if all(common((left, top, left + width, top + height), box[1:]) <= COMMON for box in boxes):
                paste(picture[top : top + height, left : left + width], ink, random)
                boxes.append((float(labels[number]), left, top, left + width, top + height))
                break
    return np.ascontiguousarray(picture.transpose(2, 0, 1)), np.array(boxes, np.float32).reshape(-1, 5) / unit


def ground(photograph: Image.Image, size: int, random: np.random.RandomState) -> Array:
    """A square of a photograph, dimmed, mirrored or not: f32[size,size,3] in [0, 1]."""
    side = round(min(photograph.size) * random.uniform(*GROUND))
    left, top = random.randint(photograph.width - side + 1), random.randint(photograph.height - side + 1)
    square = photograph.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    values = np.asarray(square, np.float32) * np.float32(random.uniform(*DIMMED) / 255)
    return np.ascontiguousarray(values[:, ::-1]) if random.randint(2) else values


def write(scan: Array, size: int, random: np.random.RandomState, heights: tuple[float, float] = HEIGHTS) -> Array:
    """A scan f32[8,8] as ink f32[height,width] in [0, 1]: turned by up to 12 degrees, slanted, scaled, cut to its box."""
    height = size * math.exp(random.uniform(math.log(heights[0]), math.log(heights[1])))
    scale = height / 8
    angle, slant, narrow = math.radians(random.uniform(-12, 12)), random.uniform(-0.2, 0.2), random.uniform(0.7, 1.1)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    forth = turn @ np.array([[1, slant], [0, 1]]) @ np.diag([scale * narrow, scale])
    back = np.linalg.inv(forth)  # Pillow asks where each pixel of the result comes from
    room = math.ceil(1.6 * height)
    move = np.array([4, 4]) - back @ np.array([room / 2, room / 2])
    affine = (back[0, 0], back[0, 1], move[0], back[1, 0], back[1, 1], move[1])
    spread = Image.fromarray(scan).transform((room, room), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    steepness = random.uniform(1.5, 3)
    ink = np.clip((np.asarray(spread, np.float32) - 0.4) * steepness + 0.5, 0, 1)
    ys, xs = (np.flatnonzero((ink >= INK).any(axis)) for axis in (1, 0))
    cut = ink[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1][:size, :size]
    return np.where(cut < INK / 2, 0, cut).astype(np.float32)


def common(box: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The area that two boxes have in common, as a share of the smaller one's."""
    sides = [min(box[i + 2], other[i + 2]) - max(box[i], other[i]) for i in range(2)]
    smaller = min((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
    return max(0, sides[0]) * max(0, sides[1]) / smaller


def paste(place: Array, ink: Array, random: np.random.RandomState) -> None:
    """Ink of a random light colour into a part of a picture f32[height,width,3]."""
    colour = (LIGHT + (1 - LIGHT) * random.rand(3)).astype(np.float32)
    share = (ink * random.uniform(0.8, 1))[:, :, None].astype(np.float32)
    place += (colour - place) * share


pasted = Source(
    "pasted",
    "scanned digits pasted on photographs, with their boxes",
    "",
    lambda folder, read: load_pasted(check_fitted("pasted", read).size),
)
