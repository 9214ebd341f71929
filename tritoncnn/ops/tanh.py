"""tanh: hyperbolic tangent."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * (1.0 - y * y),)


tanh = pointwise("tanh", "device.tanh({0})", torch.tanh, grad)
