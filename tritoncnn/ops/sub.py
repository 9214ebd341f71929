"""sub: difference."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise, sum_to


def grad(dy: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    return sum_to(dy, a.shape), sum_to(-dy, b.shape)


sub = pointwise("sub", "{0} - {1}", torch.sub, grad, arity=2, cheap=True)
