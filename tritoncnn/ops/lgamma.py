"""lgamma: logarithm of |gamma(x)|, infinite at 0, -1, -2, ..."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.digamma import digamma


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * digamma(x),)


lgamma = pointwise("lgamma", "libdevice.lgamma({0})", torch.lgamma, grad)
