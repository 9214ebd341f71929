"""sigmoid: 1 / (1 + exp(-x))."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * y * (1.0 - y),)


sigmoid = pointwise("sigmoid", "tl.sigmoid({0})", torch.sigmoid, grad)
