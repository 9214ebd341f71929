"""rsqrt: 1 / sqrt(x)."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * -0.5 * y * y * y,)


rsqrt = pointwise("rsqrt", "1.0 / tl.sqrt_rn({0})", torch.rsqrt, grad)
