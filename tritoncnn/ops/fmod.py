"""fmod: what is left of the float a after whole multiples of b, with the sign of a; exact."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise, sum_to
from tritoncnn.ops.trunc import trunc


def grad(dy: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    return sum_to(dy, a.shape), sum_to(-dy * trunc(a / b), b.shape)


SAMPLES: tuple[Any, ...] = (
    (((2, 3, 5), ("positive", (2, 3, 5))), {}),
    (((4, 1), ("positive", (1, 5))), {}),
    (((0, 3), ("positive", (3,))), {}),
)
fmod = pointwise("fmod", "{0} % {1}", torch.fmod, grad, arity=2, samples=SAMPLES)
