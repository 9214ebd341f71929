"""digamma: derivative of lgamma."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.trigamma import trigamma


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * trigamma(x),)


digamma = pointwise("digamma", "special.digamma({0})", torch.digamma, grad)
