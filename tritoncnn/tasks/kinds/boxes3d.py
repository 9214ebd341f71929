"""Finding cars in lidar scans: targets and loss of the cells of a map, boxes of what they say, and how good these are."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from tritoncnn.boxes import Scene, average_precisions, match, mean_over, suppress
from tritoncnn.boxes.rotated import Overlap, overlaps
from tritoncnn.models.pointpillars import SMALL, Found

MEAN = (3.9, 1.6, 1.56)  # length, width and height of a car in metres, as in the paper
MIDDLE = -1.0  # usual height of its centre, of the paper too
REACH = 1.0  # metres from its centre at which a cell answers for a car
TURN = -math.pi / 4  # where the half circle of yaws begins: few cars stand there, along or across the street
ALPHA, GAMMA = 0.25, 2.0  # of the focal loss (Lin et al. 2017)
BETA = 1 / 9  # where smooth L1 turns from a square into a line
BOX, DIRECTION = 2.0, 0.2  # weights of the parts of the loss, the score's being 1: the paper's
LEAST, MOST = 0.05, 64  # score of a box that is looked at, and how many of a scan, before suppression
LIMIT = 0.1  # bird's-eye overlap from which two boxes are one car: cars do not stand in each other
SHOWN = 0.3  # score from which a box is an answer


def _centres(X: int, Y: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where the cells of a map of X x Y have their centres: f32[X*Y] each."""
    (low_x, low_y, _), (high_x, high_y, _), _ = SMALL
    x = low_x + (np.arange(X) + 0.5) * (high_x - low_x) / X
    y = low_y + (np.arange(Y) + 0.5) * (high_y - low_y) / Y
    return np.repeat(x, Y).astype(np.float32), np.tile(y, X).astype(np.float32)


def loss(found: Found, target: torch.Tensor) -> torch.Tensor:
    """Focal loss of scores, smooth L1 of boxes, cross-entropy of directions, over the number of cells that answer for a car.

    ``target`` f32[B,M,8]: boxes, and 1 where there is one, -1 where one is to be neither found nor left. A cell answers for the
    car with the nearest centre, if that is within REACH; the other cells inside an outline are not asked for a score.
    """
    B, _, X, Y = found.score.shape
    cell_x, cell_y = (torch.from_numpy(values).reshape(1, -1, 1) for values in _centres(X, Y))
    car = target.unsqueeze(1)  # [B,1,M,8], against cells [1,X*Y,1]
    dx, dy = car[..., 0] - cell_x, car[..., 1] - cell_y
    away = dx * dx + dy * dy + (1 - car[..., 7]) * 1e6  # [B,X*Y,M]
    nearest = away.amin(2, keepdim=True)
    mine = (away == nearest).to(away.dtype)
    mine = mine / mine.sum(2, keepdim=True)
    box = mine @ target  # [B,X*Y,8]
    asked = (nearest[..., 0] < REACH**2).to(away.dtype)  # [B,X*Y]
    cos, sin = car[..., 6].cos(), car[..., 6].sin()
    ahead, aside = (dx * cos + dy * sin).abs() * 2, (dy * cos - dx * sin).abs() * 2
    inside = ((ahead < car[..., 3]) & (aside < car[..., 4])).to(away.dtype).amax(2)
    count = asked.sum().clamp(min=1.0)

    score = found.score.reshape(B, X * Y)
    p = score.sigmoid()
    right, wrong = F.softplus(-score), F.softplus(score)  # -log p, -log (1 - p)
    scores = ALPHA * asked * (1 - p) ** GAMMA * right + (1 - ALPHA) * (1 - asked) * (1 - inside) * p**GAMMA * wrong

    sizes = [(box[..., 3 + d] / mean).clamp(min=0.01).log() for d, mean in enumerate(MEAN)]
    place = [box[..., 0] - cell_x[..., 0], box[..., 1] - cell_y[..., 0], box[..., 2] - MIDDLE]
    twice = 2 * box[..., 6]
    wanted = torch.stack((*place, *sizes, twice.sin(), twice.cos()), 1)  # [B,8,X*Y]
    said = found.box.reshape(B, 8, X * Y)
    boxes = F.smooth_l1_loss(said, wanted, reduction="none", beta=BETA).sum(1) * asked

    turns = (box[..., 6] - TURN) / (2 * math.pi)
    turned = ((turns - turns.floor()) >= 0.5).to(away.dtype)
    direction = found.direction.reshape(B, X * Y)
    directions = (F.softplus(direction) - turned * direction) * asked
    return (scores + BOX * boxes + DIRECTION * directions).sum() / count


class Cars(NamedTuple):
    """What was found in a scan, by falling score: boxes f64[K,7] and scores f64[K]."""

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]


def read_map(found: Found) -> list[Cars]:
    """The boxes that the cells of each scan tell of, those of one car suppressed but for the surest."""
    B, _, X, Y = found.score.shape
    centre_x, centre_y = _centres(X, Y)
    scores = found.score.double().sigmoid().reshape(B, -1).numpy()
    said = found.box.double().reshape(B, 8, -1).numpy()
    turned = (found.direction.reshape(B, -1) > 0).numpy()
    cars = []
    for b in range(B):
        order = np.argsort(-scores[b], kind="stable")[:MOST]
        cells = order[scores[b, order] >= LEAST]
        dx, dy, dz, *sizes, sin, cos = said[b][:, cells]
        half = np.arctan2(sin, cos) / 2
        yaw = TURN + (half - TURN) % math.pi + math.pi * turned[b, cells]
        lengths = [mean * np.exp(np.clip(size, -3, 3)) for mean, size in zip(MEAN, sizes, strict=True)]
        boxes = np.stack([centre_x[cells] + dx, centre_y[cells] + dy, MIDDLE + dz, *lengths, yaw], 1)
        kept = suppress(overlaps(boxes, boxes).bev, scores[b, cells], np.zeros(len(cells), np.int64), LIMIT)
        cars.append(Cars(boxes[kept], scores[b, cells][kept]))
    return cars


def true_boxes(target: torch.Tensor, there: float = 1) -> list[NDArray[np.float64]]:
    """f32[B,M,8] -> of each scan f64[K,7]; with -1 what need not be found, and may be."""
    return [rows[rows[:, 7] == there, :7] for rows in target.double().numpy()]


class Truth(NamedTuple):
    """What is in a scan, boxes f64[any,7] each: the cars, and what need not be found."""

    cars: NDArray[np.float64]
    others: NDArray[np.float64]

    def beside(self) -> NDArray[np.bool_]:
        """Which of all, the cars first, need not be found."""
        return np.arange(len(self.cars) + len(self.others)) >= len(self.cars)


@functools.lru_cache(
    maxsize=1
)  # the metrics of one evaluation are asked for one after another; tensors hash by identity
def _judge(score: torch.Tensor, box: torch.Tensor, direction: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    return judge(read_map(Found(score, box, direction)), target)


def judge(cars: list[Cars], target: torch.Tensor) -> dict[str, float]:
    """Average precision at overlaps 0.5 and 0.7, from above and of volumes; the share of found cars told front from rear.

    ``target`` f32[B,M,8], as ``loss`` takes it. What need not be found is taken by one find, which then counts neither way.
    """
    truth = [Truth(*row) for row in zip(true_boxes(target), true_boxes(target, -1), strict=True)]
    pairs = [overlaps(found.boxes, np.concatenate(true)) for found, true in zip(cars, truth, strict=True)]
    result: dict[str, float] = {}
    for name, pick in (("bev_ap", lambda pair: pair.bev), ("ap", lambda pair: pair.volume)):
        scenes = [_scene(pick(pair), found, true) for pair, found, true in zip(pairs, cars, truth, strict=True)]
        aps = average_precisions(scenes, 1, (0.5, 0.7))
        result |= {f"{name}50": mean_over(aps[0]), f"{name}70": mean_over(aps[1])}
    result["heading"] = _heading(pairs, cars, truth)
    return result


def _scene(overlap: NDArray[np.float64], found: Cars, true: Truth) -> Scene:
    found_class, true_class = (np.zeros(count, np.int64) for count in overlap.shape)
    return Scene(overlap, found.scores, found_class, true_class, aside=true.beside())


def _heading(pairs: list[Overlap], cars: list[Cars], truth: list[Truth]) -> float:
    """Of the cars that are found at overlap 0.5 from above, the share whose heading is right to a quarter turn; 0 of none."""
    right = [np.zeros(0, bool)]
    for pair, found, true in zip(pairs, cars, truth, strict=True):
        hits = match(pair.bev, (0.5,), aside=true.beside()).right[0]
        if hits.any():
            nearest = pair.bev[hits, : len(true.cars)].argmax(1)
            right.append(np.cos(found.boxes[hits, 6] - true.cars[nearest, 6]) > 0)
    share = np.concatenate(right)
    return float(share.mean()) if len(share) else 0.0


def measured(name: str) -> Callable[[Found, torch.Tensor], float]:
    """The metric called ``name`` of those of ``judge``."""
    return lambda found, target: _judge(*found, target)[name]
