"""log10: logarithm to base 10."""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy / (x * math.log(10.0)),)


SAMPLES: tuple[Any, ...] = (((("positive", (2, 3, 5)),), {}), ((("positive", (0, 3)),), {}))
log10 = pointwise("log10", "libdevice.log10({0})", torch.log10, grad, samples=SAMPLES)
