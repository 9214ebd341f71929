"""round: the nearest whole number, the even one of two that are as near. It is flat between its steps: no gradient."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[None]:
    return (None,)


round_ = pointwise("round", "libdevice.rint({0})", torch.round, grad)
