"""asinh: inverse of sinh."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.sqrt import sqrt


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy / sqrt(x * x + 1.0),)


asinh = pointwise("asinh", "libdevice.asinh({0})", torch.asinh, grad)
