"""expm1: e to the x, minus 1, accurate near 0."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.exp import exp


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * exp(x),)  # y + 1 would lose what is left of exp far below 0


expm1 = pointwise("expm1", "device.expm1({0})", torch.expm1, grad)
