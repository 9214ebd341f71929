"""exp2: 2 to the x."""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * y * math.log(2.0),)


exp2 = pointwise("exp2", "tl.exp2({0})", torch.exp2, grad)
