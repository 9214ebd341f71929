"""round: the nearest whole number, the even one of two that are as near. It is flat between its steps: no gradient.

f = floor(x) and x - f are exact. Halves go to f where f is even, that is where f / 2 is whole.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[None]:
    return (None,)


UP = "({0} - tl.floor({0}) > 0.5) | (({0} - tl.floor({0}) == 0.5) & (tl.floor({0}) * 0.5 != tl.floor(tl.floor({0}) * 0.5)))"
round_ = pointwise("round", f"tl.floor({{0}}) + tl.where({UP}, 1.0, 0.0)", torch.round, grad)
