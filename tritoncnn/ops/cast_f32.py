"""cast_f32: numbers or truth values as f32. Back to a float operand the gradient goes in the operand's dtype."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import dtype_of, op_named, pointwise


def cast_back(dy: Any, y: Any, x: Any) -> tuple[Any]:
    """The gradient of a cast: dy in the dtype of x; None when x is no float."""
    dtype = dtype_of(x)
    if dtype not in ("f32", "f16", "bf16"):
        return (dy,) if dtype == "f64" else (None,)
    return (dy if dtype_of(dy) == dtype else op_named(f"cast_{dtype}")(dy),)


def to_f32(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


SAMPLES: tuple[Any, ...] = (((("i1", (2, 3, 5)),), {}), ((("i64", (7,), 100),), {}), ((("u8", (0, 2), 255),), {}))
cast_f32 = pointwise("cast_f32", "({0}).to(tl.float32)", to_f32, cast_back, dtype="f32", samples=SAMPLES, cheap=True)
