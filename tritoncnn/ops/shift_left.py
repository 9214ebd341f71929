"""shift_left: the bits of the whole number a, b places up; 0 where b is no place of a."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def reference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    inside = (b >= 0) & (b < 8 * a.element_size())
    return torch.where(inside, a << torch.where(inside, b, 0), 0)


SAMPLES: tuple[Any, ...] = (
    ((("i64", (4, 40), 2**40, -(2**40)), ("i64", (40,), 70, -3)), {}),
    ((("i32", (33,), 2**31 - 1, -(2**31)), ("i32", (33,), 40, -3)), {}),
    ((("i16", (33,), 2**15 - 1, -(2**15)), ("i16", (33,), 20, -3)), {}),
    ((("i8", (33,), 127, -128), ("i8", (33,), 12, -3)), {}),
    ((("u8", (33,), 255), ("u8", (33,), 12)), {}),
    ((("i64", (0, 3), 9), ("i64", (3,), 9)), {}),
)
shift_left = pointwise("shift_left", "device.shift_left({0}, {1})", reference, None, arity=2, samples=SAMPLES)
