"""cast_i32, cast_i16, cast_i8, cast_u8, cast_i1: numbers or truth values in fewer bits.

Floats lose what stands after the point, whole numbers their upper bits; cast_i1 asks whether x is not 0.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from tritoncnn.ops.define import TORCH_DTYPE, OpDef, pointwise


def _to(dtype: torch.dtype, x: torch.Tensor) -> torch.Tensor:
    if x.is_floating_point():
        x = torch.where(x.abs() < 2**31, x, -(2**31)).int()
    return x.to(dtype)


def to_bool(x: torch.Tensor) -> torch.Tensor:
    return x != 0


def _cast(dtype: str, text: str) -> OpDef:
    """A cast to whole numbers: those too large lose their upper bits. Floats become i32 first, where those that do not fit
    and NaN are -2**31, as torch on x86 has it.
    """
    samples: tuple[Any, ...] = (
        ((("i1", (2, 3, 5)),), {}),
        ((("positive", (4, 7)),), {}),
        ((("i64", (65,), 2**40, -(2**40)),), {}),
        ((("u8", (0, 2), 255),), {}),
        ((("i8", (9,), 127, -128),), {}),
    )
    name = f"cast_{dtype}"
    reference = partial(_to, TORCH_DTYPE[dtype])
    return pointwise(name, f"device.whole32({{0}}).to(tl.{text})", reference, None, dtype=dtype, samples=samples)


cast_i32 = _cast("i32", "int32")
cast_i16 = _cast("i16", "int16")
cast_i8 = _cast("i8", "int8")
cast_u8 = _cast("u8", "uint8")
cast_i1 = pointwise("cast_i1", "{0} != 0", to_bool, None, dtype="i1", samples=(
    ((("i64", (2, 33), 3, -3),), {}), (((4, 7),), {}), ((("u8", (0, 2), 255),), {}), ((("i1", (9,)),), {}),
))  # fmt: skip
