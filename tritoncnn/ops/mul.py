"""mul: product."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise, sum_to


def grad(dy: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    return sum_to(dy * b, a.shape), sum_to(dy * a, b.shape)


mul = pointwise("mul", "{0} * {1}", torch.mul, grad, arity=2, cheap=True)
