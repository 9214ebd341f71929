"""erf: the error function, 2/sqrt(pi) * integral from 0 to x of exp(-t*t) dt."""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.exp import exp


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * (2.0 / math.sqrt(math.pi)) * exp(-(x * x)),)


erf = pointwise("erf", "tl.erf({0})", torch.erf, grad)
