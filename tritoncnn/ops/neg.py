"""neg: negation."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (-dy,)


neg = pointwise("neg", "-({0})", torch.neg, grad, cheap=True)
