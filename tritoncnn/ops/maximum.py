"""maximum: the larger of two; NaN wins."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise, sum_to
from tritoncnn.ops.eq import eq
from tritoncnn.ops.where import where


def grad(dy: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Ties give half to each, NaN the whole to both, as in torch."""
    shared = where(eq(a, b), dy * 0.5, dy)
    return sum_to(where(a < b, 0.0, shared), a.shape), sum_to(where(a > b, 0.0, shared), b.shape)


maximum = pointwise("maximum", "tl.maximum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)", torch.maximum, grad, arity=2)
