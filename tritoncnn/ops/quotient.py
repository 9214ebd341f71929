"""quotient: a / b of whole numbers, without what stands after the point; 0 where b is 0."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def reference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    safe = torch.where(b == 0, 1, b)
    return torch.where(b == 0, 0, torch.div(a, safe, rounding_mode="trunc"))


SAMPLES: tuple[Any, ...] = (
    ((("i64", (4, 40), 2**40, -(2**40)), ("i64", (40,), 7, -7)), {}),
    ((("i32", (33,), 2**31 - 1, -(2**31)), ("i32", (33,), 9, 1)), {}),
    ((("u8", (33,), 255), ("u8", (33,), 9, 1)), {}),
)
quotient = pointwise("quotient", "device.quotient({0}, {1})", reference, None, arity=2, samples=SAMPLES)
