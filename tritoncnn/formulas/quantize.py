"""ATen's fake quantization in terms of our ops: floats rounded to what whole numbers of a few bits can say."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.formulas.dtypes import cast, narrow, widen
from tritoncnn.formulas.sample import along, wrap
from tritoncnn.ops import OPS

op = OPS


def fake_quantize(x: Any, scale: Any, zero_point: Any, quant_min: int, quant_max: int) -> Any:
    """(clamp(round(x / scale) + zero_point) - zero_point) * scale; NaN stays NaN. x gets the gradient where nothing is clamped.

    ``scale`` and ``zero_point`` are numbers, or tensors that broadcast to x. Source: Jacob et al. 2018, "Quantization and
    training of neural networks for efficient integer-arithmetic-only inference", equation 12.
    """
    if isinstance(scale, (int, float)):
        inverse: Any = float(torch.tensor(1.0) / torch.tensor(float(scale)))  # in f32, as torch has it
        zero: Any = float(zero_point)
        scale = float(scale)
    else:
        scale, zero = widen(scale), cast(zero_point, "f32")
        inverse = op["reciprocal"](scale)
    z = widen(x)
    q = op["round"](z * inverse) + zero
    held = op["minimum"](op["maximum"](q, float(quant_min)), float(quant_max))
    y = op["detach"]((held - zero) * scale)
    return narrow(op["straight_through"](y, op["where"](op["eq"](q, held), z, op["detach"](z))), x)


def fake_quantize_channels(x: Any, scale: Any, zero_point: Any, axis: int, quant_min: int, quant_max: int) -> Any:
    """With a scale and a zero point for each place along ``axis``. Raises ShapeError."""
    axis = wrap("fake_quantize", len(x.shape), axis)
    for key, value in {"scale": scale, "zero_point": zero_point}.items():
        if tuple(value.shape) != (x.shape[axis],):
            raise ShapeError(f"fake_quantize: {key} must be [{x.shape[axis]}]; got {list(value.shape)}")
    shape = along(len(x.shape), axis, x.shape[axis])
    scale, zero_point = (op["reshape"](value, shape=shape) for value in (scale, zero_point))
    return fake_quantize(x, scale, zero_point, quant_min, quant_max)
