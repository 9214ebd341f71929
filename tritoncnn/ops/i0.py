"""i0: modified Bessel function of the first kind, of order 0."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.i1 import i1


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy * i1(x),)


i0 = pointwise("i0", "special.i0({0})", torch.special.i0, grad)
