"""ceil: the smallest whole number that is not below x. It is flat between its steps: no gradient."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[None]:
    return (None,)


ceil = pointwise("ceil", "tl.ceil({0})", torch.ceil, grad)
