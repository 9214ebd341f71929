"""detach: x, through which no gradient flows."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[None]:
    return (None,)


detach = pointwise("detach", "{0}", torch.Tensor.detach, grad, cheap=True)
