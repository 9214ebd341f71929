"""hypot: the square root of a * a + b * b, whose squares do not overflow; infinite where one operand is."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise, sum_to


def grad(dy: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """NaN at the origin, as in torch."""
    return sum_to(dy * (a / y), a.shape), sum_to(dy * (b / y), b.shape)


hypot = pointwise("hypot", "libdevice.hypot({0}, {1})", torch.hypot, grad, arity=2)
