"""exp: e to the x."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * y,)


exp = pointwise("exp", "tl.exp({0})", torch.exp, grad)
