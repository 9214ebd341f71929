"""atanh: inverse of tanh; NaN beyond -1..1."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy / (1.0 - x * x),)


atanh = pointwise("atanh", "libdevice.atanh({0})", torch.atanh, grad)
