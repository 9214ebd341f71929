"""power: x to a constant ``exponent``. Its gradient is that of a power, whatever formula is fast for the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tritoncnn.ir import TensorType
from tritoncnn.ops.define import OpDef
from tritoncnn.ops.pow import pow_
from tritoncnn.ops.reciprocal import reciprocal
from tritoncnn.ops.rsqrt import rsqrt
from tritoncnn.ops.sqrt import sqrt
from tritoncnn.ops.window import check_float

FORMULAS: dict[float, Callable[[Any], Any]] = {
    1.0: lambda x: x * 1.0,
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
    4.0: lambda x: (x * x) * (x * x),
    0.5: sqrt,
    -0.5: rsqrt,
    -1.0: reciprocal,
    -2.0: lambda x: reciprocal(x * x),
}


def infer(x: TensorType, *, exponent: float) -> TensorType:
    check_float("power", x, "x")
    return TensorType.dense(x.dtype, x.shape)


def grad(dy: Any, y: Any, x: Any, *, exponent: float) -> tuple[Any]:
    if exponent == 0:
        return (None,)
    return (dy * (power(x, exponent=exponent - 1) * exponent),)


def reference(x: torch.Tensor, *, exponent: float) -> torch.Tensor:
    return torch.pow(x, exponent)


def compose(x: Any, *, exponent: float) -> Any:
    return FORMULAS[exponent](x) if exponent in FORMULAS else pow_(x, exponent)


SAMPLES: tuple[Any, ...] = (
    *(((("positive", (2, 3, 5)),), {"exponent": e}) for e in (0.5, -0.5, -1.0, -2.0, 1.7, -3.0, 5.0, 0.0)),
    (((0, 3),), {"exponent": 1.5}),
    (((4, 5),), {"exponent": 3.0}),
)
power = OpDef("power", infer, reference, grad, compose=compose, samples=SAMPLES)
