"""sin: sine."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.cos import cos
from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * cos(x),)


sin = pointwise("sin", "tl.sin({0})", torch.sin, grad)
