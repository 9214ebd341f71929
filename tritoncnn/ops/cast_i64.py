"""cast_i64: numbers or truth values as i64; floats lose what stands after the point.

Floats that do not fit, and NaN, are -2**63, as torch on x86 has it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def to_i64(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x.abs() < 2**63, x, -(2**63)).long() if x.is_floating_point() else x.long()


SAMPLES: tuple[Any, ...] = (((("i1", (2, 3, 5)),), {}), (((4, 7),), {}), ((("u8", (0, 2), 255),), {}))
cast_i64 = replace(pointwise("cast_i64", "device.whole64({0})", to_i64, None, dtype="i64", samples=SAMPLES), whole=True)
