"""bit_not: every bit turned; of truth values, the other one."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise

SAMPLES: tuple[Any, ...] = (
    ((("i1", (2, 33)),), {}),
    ((("i64", (2, 33), 2**40, -(2**40)),), {}),
    ((("u8", (0, 3), 255),), {}),
    ((("u8", (9,), 255),), {}),
)
bit_not = pointwise("bit_not", "~{0}", torch.bitwise_not, None, samples=SAMPLES)
