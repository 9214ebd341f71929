"""acosh: inverse of cosh, not below 0; NaN for x below 1."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.sqrt import sqrt


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    """Torch gives it below -1 too. Adding 0 makes the zero at -1 positive."""
    return (dy / sqrt((x - 1.0) * (x + 1.0) + 0.0),)


SAMPLES: tuple[Any, ...] = (((("positive", (2, 3, 5)),), {}), ((("positive", (0, 3)),), {}))
acosh = pointwise("acosh", "libdevice.acosh({0})", torch.acosh, grad, samples=SAMPLES)
