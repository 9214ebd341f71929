"""neg: negation; 0.0 becomes -0.0."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (-dy,)


neg = pointwise("neg", "device.negate({0})", torch.neg, grad, cheap=True)
