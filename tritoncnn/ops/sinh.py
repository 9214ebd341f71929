"""sinh: hyperbolic sine."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.cosh import cosh
from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * cosh(x),)


sinh = pointwise("sinh", "libdevice.sinh({0})", torch.sinh, grad)
