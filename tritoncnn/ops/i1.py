"""i1: modified Bessel function of the first kind, of order 1."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.abs import abs_
from tritoncnn.ops.define import op_named, pointwise
from tritoncnn.ops.gt import gt
from tritoncnn.ops.where import where


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    """One half up to f32's rounding, and at NaN, as in torch."""
    far = gt(abs_(x), 2.0**-23)
    return (dy * where(far, op_named("i0")(x) - y / where(far, x, 1.0), 0.5),)


i1 = pointwise("i1", "special.i1({0})", torch.special.i1, grad)
