"""i0e: exp(-|x|) i0(x)."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.eq import eq
from tritoncnn.ops.i1e import i1e
from tritoncnn.ops.where import where


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    """0 at 0, as in torch."""
    return (dy * (i1e(x) - where(eq(x, 0.0), y * 0.0, where(x < 0.0, -y, y))),)


i0e = pointwise("i0e", "special.i0e({0})", torch.special.i0e, grad)
