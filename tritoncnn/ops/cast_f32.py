"""cast_f32: numbers or truth values as f32; no gradient flows back, since the operand is no float."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[None]:
    return (None,)


SAMPLES: tuple[Any, ...] = (((("i1", (2, 3, 5)),), {}), ((("i64", (7,), 100),), {}), ((("u8", (0, 2), 255),), {}))
cast_f32 = pointwise("cast_f32", "({0}).to(tl.float32)", torch.Tensor.float, grad, dtype="f32", samples=SAMPLES)
