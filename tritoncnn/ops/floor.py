"""floor: the largest whole number that is not above x. It is flat between its steps: no gradient."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[None]:
    return (None,)


floor = pointwise("floor", "tl.floor({0})", torch.floor, grad)
