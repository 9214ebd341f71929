"""acos: arc cosine, in 0..pi."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.sqrt import sqrt


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (-dy / sqrt(1.0 - x * x),)


SAMPLES: tuple[Any, ...] = ((((2, 3, 5),), {}), (((0, 3),), {}))
acos = pointwise("acos", "libdevice.acos({0})", torch.acos, grad, samples=SAMPLES)
