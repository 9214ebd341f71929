"""abs: absolute value."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.where import where


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (where(x > 0, dy, where(x < 0, -dy, 0.0)),)


abs_ = pointwise("abs", "tl.abs({0})", torch.abs, grad)
