"""erfc: 1 - erf(x), accurate also where erf is near 1."""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.exp import exp


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * (-2.0 / math.sqrt(math.pi)) * exp(-(x * x)),)


erfc = pointwise("erfc", "libdevice.erfc({0})", torch.special.erfc, grad)
