"""pow: a to the b; 1 where b is 0."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise, sum_to
from tritoncnn.ops.eq import eq
from tritoncnn.ops.ge import ge
from tritoncnn.ops.log import log
from tritoncnn.ops.where import where


def grad(dy: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """0 where b is 0 for a, and where a is 0 and b not below 0 for b, as in torch."""
    da = where(eq(b, 0.0), 0.0, dy * b * pow_(a, b - 1.0))
    db = where(eq(a, 0.0), where(ge(b, 0.0), 0.0, dy * y * log(a)), dy * y * log(a))
    return sum_to(da, a.shape), sum_to(db, b.shape)


SAMPLES: tuple[Any, ...] = (
    ((("positive", (2, 3, 5)), (2, 3, 5)), {}),
    ((("positive", (4, 1)), (1, 5)), {}),
    ((("positive", (0, 3)), (3,)), {}),
)
pow_ = pointwise("pow", "libdevice.pow({0}, {1})", torch.pow, grad, arity=2, samples=SAMPLES)
