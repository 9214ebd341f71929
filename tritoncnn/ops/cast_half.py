"""cast_bf16, cast_f16: numbers rounded to 16 bits, once, to nearest even. The reference keeps fp64: it is the oracle."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.cast_f32 import cast_back
from tritoncnn.ops.define import pointwise


def _to(dtype: torch.dtype, x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.to(dtype)


def to_bf16(x: torch.Tensor) -> torch.Tensor:
    return _to(torch.bfloat16, x)


def to_f16(x: torch.Tensor) -> torch.Tensor:
    return _to(torch.float16, x)


SAMPLES: tuple[Any, ...] = ((((2, 3, 5),), {}), (((0, 2),), {}))
cast_bf16 = pointwise(
    "cast_bf16", "({0}).to(tl.bfloat16).to(tl.float32)", to_bf16, cast_back, dtype="bf16", samples=SAMPLES
)
cast_f16 = pointwise("cast_f16", "({0}).to(tl.float16).to(tl.float32)", to_f16, cast_back, dtype="f16", samples=SAMPLES)
