"""atan2: the angle of the point (b, a), in -pi..pi."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise, sum_to


def grad(dy: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    square = a * a + b * b
    return sum_to(dy * b / square, a.shape), sum_to(-dy * a / square, b.shape)


atan2 = pointwise("atan2", "libdevice.atan2({0}, {1})", torch.atan2, grad, arity=2)
