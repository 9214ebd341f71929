"""minimum: the smaller of two; NaN wins."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise, sum_to
from tritoncnn.ops.where import where


def grad(dy: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Ties give half to each, as in torch."""
    da = where(a < b, dy, where(a > b, 0.0, dy * 0.5))
    return sum_to(da, a.shape), sum_to(dy - da, b.shape)


minimum = pointwise("minimum", "tl.minimum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)", torch.minimum, grad, arity=2)
