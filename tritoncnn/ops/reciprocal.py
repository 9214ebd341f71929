"""reciprocal: 1 / x."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (-(dy * y * y),)


reciprocal = pointwise("reciprocal", "1.0 / ({0})", torch.reciprocal, grad)
