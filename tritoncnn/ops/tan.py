"""tan: tangent."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * (1.0 + y * y),)


SAMPLES: tuple[Any, ...] = (((("positive", (2, 3, 5)),), {}), ((("positive", (0, 3)),), {}))
tan = pointwise("tan", "libdevice.tan({0})", torch.tan, grad, samples=SAMPLES)
