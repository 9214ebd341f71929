"""Where rays from the origin first meet boxes, balls and upright cylinders. A ray's parameter is in lengths of its direction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.define import Array

Numbers = NDArray[np.floating]
INFINITE = np.float32(np.inf)


def meet_boxes(rays: Array, boxes: Numbers | Sequence[Sequence[float]]) -> Array:
    """Where rays f32[3,R] enter each box (x, y, z, length, width, height, yaw): f32[K,R], infinite where they miss it."""
    enter, leave = _slabs(rays, boxes)
    return np.where(enter < leave, enter, INFINITE)


def leave_box(rays: Array, box: Sequence[float]) -> Array:
    """Where rays f32[3,R] leave a box that the origin is in: f32[R]."""
    return _slabs(rays, [box])[1][0]


def _slabs(rays: Array, boxes: Numbers | Sequence[Sequence[float]]) -> tuple[Array, Array]:
    """Where rays are in all three slabs of a box, ahead of the origin: from f32[K,R] to f32[K,R].

    Between the two planes of an axis a ray is from one parameter to another; in the box it is where all three overlap
    (Kay & Kajiya 1986).
    """
    x, y, z, length, width, height, yaw = (np.array(boxes, np.float32).reshape(-1, 7, 1)).transpose(1, 0, 2)
    cos, sin = np.cos(yaw), np.sin(yaw)
    enter, leave = np.float32(0.0), INFINITE
    for ray, centre, size in (
        (cos * rays[0] + sin * rays[1], cos * x + sin * y, length),
        (cos * rays[1] - sin * rays[0], cos * y - sin * x, width),
        (rays[2], z, height),
    ):
        with np.errstate(divide="ignore", invalid="ignore"):  # along a plane: it is met infinitely far away
            a, b = (centre - size / 2) / ray, (centre + size / 2) / ray
        enter, leave = np.maximum(enter, np.minimum(a, b)), np.minimum(leave, np.maximum(a, b))
    return enter, leave


def meet_poles(rays: Array, poles: Numbers | Sequence[Sequence[float]], bottom: float) -> Array:
    """Where rays f32[3,R] meet upright cylinders (x, y, radius, height) that stand at ``bottom``, without their tops:
    f32[K,R].
    """
    x, y, radius, height = (np.array(poles, np.float32).reshape(-1, 4, 1)).transpose(1, 0, 2)
    flat = rays[0] ** 2 + rays[1] ** 2
    ahead = x * rays[0] + y * rays[1]
    under = ahead**2 - flat * (x**2 + y**2 - radius**2)
    distance = (ahead - np.sqrt(np.maximum(under, 0))) / flat
    hit = (under > 0) & (distance > 0) & (distance * rays[2] < bottom + height)
    return np.where(hit, distance, INFINITE)


def meet_balls(rays: Array, balls: Numbers | Sequence[Sequence[float]]) -> Array:
    """Where rays f32[3,R] meet balls (x, y, z, radius) from outside: f32[K,R], infinite where they miss them."""
    x, y, z, radius = (np.array(balls, np.float32).reshape(-1, 4, 1)).transpose(1, 0, 2)
    long = (rays**2).sum(0)
    ahead = x * rays[0] + y * rays[1] + z * rays[2]
    under = ahead**2 - long * (x**2 + y**2 + z**2 - radius**2)
    distance = (ahead - np.sqrt(np.maximum(under, 0))) / long
    return np.where((under > 0) & (distance > 0), distance, INFINITE)
