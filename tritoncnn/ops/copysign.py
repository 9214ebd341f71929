"""copysign: the size of the float a with the sign of b, that of -0.0 too."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise, sum_to
from tritoncnn.ops.eq import eq
from tritoncnn.ops.where import where


def grad(dy: Any, y: Any, a: Any, b: Any) -> tuple[Any, None]:
    """0 where a is 0, as in torch."""
    return sum_to(where(eq(a, 0.0), 0.0, dy * (y / a)), a.shape), None


copysign = pointwise("copysign", "libdevice.copysign({0}, {1})", torch.copysign, grad, arity=2)
