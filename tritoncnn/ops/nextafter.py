"""nextafter: the next f32 after a on the way to b."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise, sum_to
from tritoncnn.ops.eq import eq
from tritoncnn.ops.where import where


def grad(dy: Any, y: Any, a: Any, b: Any) -> tuple[Any, None]:
    """That of a; none where a is b, as in torch."""
    return sum_to(where(eq(a, b), 0.0, dy), a.shape), None


nextafter = pointwise("nextafter", "special.nextafter({0}, {1})", torch.nextafter, grad, arity=2)
