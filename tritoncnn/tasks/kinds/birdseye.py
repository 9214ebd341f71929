"""What is said of scans: boxes in words, and drawn on the scan seen from above; ahead is up, left is left."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tritoncnn.boxes.rotated import corners
from tritoncnn.data import Examples, Facts
from tritoncnn.data.define import Array
from tritoncnn.data.scan import read_scan
from tritoncnn.figure import as_png
from tritoncnn.models.pointpillars import SMALL, Found
from tritoncnn.task import Answer, Ask
from tritoncnn.tasks.kinds.boxes3d import SHOWN, Cars, read_map, true_boxes

SIDE = 640  # pixels of a view
ROW, ROWS = 3, 2  # views of the test part side by side, and below each other
NAMES = ("x", "y", "z", "l", "w", "h", "yaw")
PAPER, TEXT = (16, 18, 24), (235, 235, 235)
TRUE, FOUND = (70, 220, 110), (255, 120, 60)
LOW, HIGH = np.array((60, 80, 120.0)), np.array((255, 245, 180.0))  # colours of the ground, and of what is tall
LOWEST, TALL = -1.6, 1.2  # metres: up to where is ground, seen from the lidar; and how far above it is tall
DOT = 2


def view(points: Array, side: int = SIDE) -> Image.Image:
    """Points f32[N,4] from above, DOT pixels wide, the lighter the higher."""
    coarse = side // DOT
    pixels = np.full((coarse, coarse, 3), PAPER, np.uint8)
    order = np.argsort(points[:, 2], kind="stable")  # the highest point of a pixel is seen
    column, row = np.floor(_places(points[order], coarse)).astype(np.int64).T
    share = np.clip((points[order, 2:3] - LOWEST) / TALL, 0, 1)
    inside = (column >= 0) & (column < coarse) & (row >= 0) & (row < coarse)
    pixels[row[inside], column[inside]] = (LOW + share * (HIGH - LOW))[inside]
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)


def view_file(path: Path) -> Image.Image:
    """The whole scan of a file. Raises DataError."""
    return view(read_scan(path))


def _places(points: NDArray[np.floating], side: int) -> NDArray[np.float64]:
    """Where points [..., 2 or more] are in a view: f64[...,2], column and row in pixels."""
    (low_x, low_y, _), (high_x, high_y, _), _ = SMALL
    column, row = (high_y - points[..., 1]) / (high_y - low_y), (high_x - points[..., 0]) / (high_x - low_x)
    places: NDArray[np.float64] = np.stack([column, row], -1).astype(np.float64) * side
    return places


def draw_boxes(picture: Image.Image, boxes: NDArray[np.float64], colour: tuple[int, int, int]) -> None:
    """Draw boxes f64[K,7] onto a view: outlines, and a line from the middle to the front."""
    draw = ImageDraw.Draw(picture)
    for outline, box in zip(corners(boxes), boxes, strict=True):
        draw.polygon([tuple(place) for place in _places(outline, picture.width)], outline=colour, width=2)
        middle, front = _places(np.stack([box[:2], outline[[0, 3]].mean(0)]), picture.width)
        draw.line([tuple(middle), tuple(front)], fill=colour, width=2)


def draw_found(picture: Image.Image, cars: Cars) -> None:
    """Draw all of these cars, with their scores in percent."""
    draw_boxes(picture, cars.boxes, FOUND)
    draw = ImageDraw.Draw(picture)
    for outline, score in zip(corners(cars.boxes), cars.scores, strict=True):
        column, row = _places(outline, picture.width).max(0)
        draw.text((column + 2, row - 8), f"{score:.0%}", FOUND, ImageFont.load_default(12))


def draw_scans(found: Found, examples: Examples, facts: Facts) -> bytes:
    """The first scans of the test part from above, with true boxes and found ones, as a PNG."""
    count = min(ROW * ROWS, len(examples))
    cars = read_map(Found(*(part[:count] for part in found)))
    views = [
        _compared(points, true, one)
        for points, true, one in zip(examples.x[:count].numpy(), true_boxes(examples.y[:count]), cars, strict=True)
    ]
    page = Image.new("RGB", (min(ROW, count) * (SIDE + 4), -(-count // ROW) * (SIDE + 4) + 20), TEXT)
    for number, one in enumerate(views):
        page.paste(one, (number % ROW * (SIDE + 4) + 2, number // ROW * (SIDE + 4) + 2))
    label = f"{facts.classes[0]}s: green the true boxes, orange the found ones, with scores of {SHOWN:.0%} and more"
    ImageDraw.Draw(page).text((6, page.height - 18), label, PAPER, ImageFont.load_default(14))
    return as_png(page)


def _compared(points: Array, true: NDArray[np.float64], cars: Cars) -> Image.Image:
    picture = view(points)
    draw_boxes(picture, true, TRUE)
    draw_found(picture, _surest(cars, SHOWN))
    return picture


def _surest(cars: Cars, least: float) -> Cars:
    return Cars(cars.boxes[cars.scores >= least], cars.scores[cars.scores >= least])


def answer(found: Found, facts: Facts, ask: Ask) -> list[Answer]:
    """The cars of each scan that are asked for, the surest first."""
    answers, (name, *_) = [], facts.classes
    for cars in read_map(found):
        cars = Cars(*(part[: ask.top] for part in _surest(cars, ask.score)))
        rows = list(zip(cars.boxes.tolist(), cars.scores.tolist(), strict=True))
        note = [{"class": name, "score": score} | dict(zip(NAMES, box, strict=True)) for box, score in rows]
        lines = tuple(_line(name, box, score) for box, score in rows) or (f"no {name}",)
        answers.append(Answer({"boxes": note}, lines, functools.partial(_drawn, cars)))
    return answers


def _drawn(cars: Cars, picture: Image.Image) -> Image.Image:
    draw_found(picture, cars)
    return picture


def _line(name: str, box: list[float], score: float) -> str:
    x, y, _, length, width, height, yaw = box
    side = "left" if y >= 0 else "right"
    degrees = math.degrees(math.atan2(math.sin(yaw), math.cos(yaw)))
    return (
        f"{score:7.2%}  {name} {x:.1f} m ahead, {abs(y):.1f} m {side}; {length:.1f} x {width:.1f} x {height:.1f} m, "
        f"turned {round(degrees):+d}°"
    )
