"""asin: arc sine, in -pi/2..pi/2."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.sqrt import sqrt


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy / sqrt(1.0 - x * x),)


SAMPLES: tuple[Any, ...] = ((((2, 3, 5),), {}), (((0, 3),), {}))
asin = pointwise("asin", "libdevice.asin({0})", torch.asin, grad, samples=SAMPLES)
