"""bit_xor: a xor b, bit by bit; of truth values, their logical xor."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise

SAMPLES: tuple[Any, ...] = (
    ((("i1", (2, 33)), ("i1", (33,))), {}),
    ((("i64", (2, 33), 2**40, -(2**40)), ("i64", (2, 1), 2**40)), {}),
    ((("i32", (5,), 99, -99), ("i32", (5,), 99)), {}),
    ((("u8", (0, 3), 255), ("u8", (3,), 255)), {}),
)
bit_xor = pointwise("bit_xor", "{0} ^ {1}", torch.bitwise_xor, None, arity=2, samples=SAMPLES)
