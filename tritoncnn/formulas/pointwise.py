"""ATen's activations in terms of our ops. Composites are written so that their gradient is torch's also at the corners."""

from __future__ import annotations

import math
from typing import Any

from tritoncnn.errors import InputError, ShapeError
from tritoncnn.formulas.dtypes import narrow, widen
from tritoncnn.ops import OPS

op = OPS  # short, because formulas are read better on one line


def hardtanh(x: Any, low: float = -1.0, high: float = 1.0) -> Any:
    """Gradient 0 on the bounds, as torch has it; NaN stays NaN."""
    inner = op["where"](op["ge"](x, high), float(high), x)
    return op["where"](op["le"](x, low), float(low), inner)


def relu6(x: Any) -> Any:
    return hardtanh(x, 0.0, 6.0)


def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    return op["where"](x > 0, x, x * float(slope))


def prelu(x: Any, w: Any) -> Any:
    """w is one number, or one per channel of x [N, C, ...]. Raises ShapeError."""
    channels = x.shape[1] if len(x.shape) > 1 else 1
    if tuple(w.shape) not in ((), (1,), (channels,)):
        raise ShapeError(f"prelu: weight must be [1] or [{channels}] for x {list(x.shape)}; got {list(w.shape)}")
    if tuple(w.shape) in ((), (1,)):
        w = op["reshape"](w, shape=())
    else:
        w = op["reshape"](w, shape=(1, channels, *(1,) * (len(x.shape) - 2)))
    return op["where"](x > 0, x, x * w)


def silu(x: Any) -> Any:
    return x * op["sigmoid"](x)


def gelu(x: Any, approximate: str = "none") -> Any:
    """Source: Hendrycks & Gimpel 2016, "Gaussian error linear units"."""
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
        return 0.5 * x * (1.0 + op["tanh"](inner))
    return 0.5 * x * (1.0 + op["erf"](x * math.sqrt(0.5)))


def elu(x: Any, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Any:
    """expm1 sees only what is not above 0, so that neither it nor its gradient overflows."""
    below = op["where"](x > 0, 0.0, x)
    negative = op["expm1"](below * float(input_scale)) * float(alpha)
    y = op["where"](x > 0, x, negative)
    return y if scale == 1 else y * float(scale)


def selu(x: Any) -> Any:
    """Source: Klambauer et al. 2017, "Self-normalizing neural networks", alpha and lambda of equation 14."""
    return elu(x, 1.6732632423543772, 1.0507009873554805)


def hardswish(x: Any) -> Any:
    return x * hardtanh(x + 3.0, 0.0, 6.0) * (1 / 6)


def hardsigmoid(x: Any) -> Any:
    return hardtanh(x + 3.0, 0.0, 6.0) * (1 / 6)


def log_one_plus_exp(z: Any) -> Any:
    """log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|)): nothing overflows, and the gradient at 0 is 1/2."""
    above = z > 0
    return op["where"](above, z, 0.0) + op["log1p"](op["exp"](op["where"](above, -z, z)))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta x)) / beta; x itself past the threshold, as in torch."""
    if beta == 0:
        raise InputError(f"softplus: beta must not be 0; got {beta}")
    z = widen(x) * float(beta)
    y = log_one_plus_exp(z) * (1 / beta)
    return narrow(op["where"](z > float(threshold), widen(x), y), x)


def log_sigmoid(x: Any) -> Any:
    return narrow(-softplus(-widen(x), 1.0, math.inf), x)


def mish(x: Any) -> Any:
    """Source: Misra 2019, "Mish: a self regularized non-monotonic activation function"."""
    return narrow(widen(x) * op["tanh"](softplus(widen(x))), x)


def gated(x: Any, gate: Any) -> Any:
    """tanh(x) * sigmoid(gate). Source: van den Oord et al. 2016, "WaveNet: a generative model for raw audio", equation 2."""
    if tuple(gate.shape) != tuple(x.shape):
        raise ShapeError(f"gated: gate must be {list(x.shape)}, as x is; got {list(gate.shape)}")
    return op["tanh"](x) * op["sigmoid"](gate)
