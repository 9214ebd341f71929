"""i1e: exp(-|x|) i1(x)."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.abs import abs_
from tritoncnn.ops.define import op_named, pointwise
from tritoncnn.ops.gt import gt
from tritoncnn.ops.reciprocal import reciprocal
from tritoncnn.ops.where import where


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    """One half up to f32's rounding, and at NaN, as in torch."""
    far = gt(abs_(x), 2.0**-23)
    slope = op_named("i0e")(x) - where(x < 0.0, -y, y) - y * reciprocal(where(far, x, 1.0))
    return (dy * where(far, slope, 0.5),)


i1e = pointwise("i1e", "special.i1e({0})", torch.special.i1e, grad)
