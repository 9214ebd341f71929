"""atan: arc tangent, in -pi/2..pi/2."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy / (x * x + 1.0),)


atan = pointwise("atan", "libdevice.atan({0})", torch.atan, grad)
