"""erfinv: inverse of erf."""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.exp import exp


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * (math.sqrt(math.pi) / 2) * exp(y * y),)


SAMPLES: tuple[Any, ...] = ((((2, 3, 5),), {}), (((0, 3),), {}))
erfinv = pointwise("erfinv", "special.erfinv({0})", torch.erfinv, grad, samples=SAMPLES)
