"""log2: logarithm to base 2."""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy / (x * math.log(2.0)),)


SAMPLES: tuple[Any, ...] = (((("positive", (2, 3, 5)),), {}), ((("positive", (0, 3)),), {}))
log2 = pointwise("log2", "tl.log2({0})", torch.log2, grad, samples=SAMPLES)
