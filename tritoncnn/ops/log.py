"""log: natural logarithm."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy / x,)


log = pointwise("log", "tl.log({0})", torch.log, grad)
