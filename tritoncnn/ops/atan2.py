"""atan2: the angle of the point (b, a), in -pi..pi."""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.ops.abs import abs_
from tritoncnn.ops.define import pointwise, sum_to
from tritoncnn.ops.eq import eq
from tritoncnn.ops.maximum import maximum
from tritoncnn.ops.where import where


def grad(dy: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """0 at the origin, as in torch. The larger size is taken out first: squares would overflow, or vanish."""
    size = maximum(abs_(a), abs_(b))
    origin = eq(size, 0.0)
    infinite = eq(size, math.inf)
    u, v = where(infinite, a * 0.0, a / size), where(infinite, b * 0.0, b / size)
    whole = where(infinite, 1.0, (u * u + v * v) * size)
    da, db = where(origin, 0.0, dy * v / whole), where(origin, 0.0, -dy * u / whole)
    return sum_to(da, a.shape), sum_to(db, b.shape)


atan2 = pointwise("atan2", "libdevice.atan2({0}, {1})", torch.atan2, grad, arity=2)
