"""trunc: x without what stands after the point. It is flat between its steps: no gradient."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[None]:
    return (None,)


trunc = pointwise("trunc", "tl.where({0} < 0, tl.ceil({0}), tl.floor({0}))", torch.trunc, grad)
