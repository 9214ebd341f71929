"""relu: x where x is not below 0, else 0; NaN stays NaN."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.le import le
from tritoncnn.ops.where import where


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    """NaN lets the gradient through, as in torch."""
    return (where(le(y, 0.0), 0.0, dy),)


relu = pointwise("relu", "tl.where({0} < 0, 0.0, {0})", torch.relu, grad)
