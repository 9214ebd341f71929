"""cosh: hyperbolic cosine."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import op_named, pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * op_named("sinh")(x),)


cosh = pointwise("cosh", "libdevice.cosh({0})", torch.cosh, grad)
