"""ATen's activations in terms of our ops. Composites are written so that their gradient is torch's also at the corners."""

from __future__ import annotations

import math
from typing import Any

from tritoncnn.errors import InputError, ShapeError
from tritoncnn.formulas.dtypes import held, narrow, widen
from tritoncnn.ops import OPS

op = OPS  # short, because formulas are read better on one line


def bounded(x: Any, low: float, high: float) -> Any:
    """x, at least low and at most high: a zero on a bound keeps its sign, NaN stays NaN."""
    return op["where"](op["lt"](x, low), low, op["where"](op["gt"](x, high), high, x))


def between(x: Any, low: float, high: float) -> Any:
    """x where it lies between the two, else 0: what lets no gradient through on the bounds, nor at NaN."""
    return op["where"](op["bit_and"](op["gt"](x, low), op["lt"](x, high)), x, 0.0)


def outside(x: Any, size: float) -> Any:
    """x where it is farther from 0 than ``size``, else 0, also at NaN."""
    return op["where"](op["bit_or"](op["gt"](x, size), op["lt"](x, -size)), x, 0.0)


def hardtanh(x: Any, low: float = -1.0, high: float = 1.0) -> Any:
    """Gradient 0 on the bounds and at NaN, as torch has it."""
    low, high = float(low), float(high)
    return op["straight_through"](bounded(x, low, high), between(x, low, high))


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
    z = widen(x)
    return narrow(z * op["sigmoid"](z), x)


def gelu(x: Any, approximate: str = "none") -> Any:
    """Source: Hendrycks & Gimpel 2016, "Gaussian error linear units"."""
    z = widen(x)
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (z + 0.044715 * (z * z * z))
        return narrow(0.5 * z * (1.0 + op["tanh"](inner)), x)
    return narrow(0.5 * z * (1.0 + op["erf"](z * math.sqrt(0.5))), x)


def elu(x: Any, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Any:
    """Expm1 sees only what is not above 0, so that neither it nor its gradient overflows. At 0, x has the sign of the
    result and the part below 0 the gradient.
    """
    z = widen(x)
    below = op["where"](z > 0, 0.0, z)
    negative = op["expm1"](below * float(input_scale)) * float(alpha)
    y = op["straight_through"](op["where"](z < 0, negative, z), op["where"](z > 0, z, negative))
    return narrow(y if scale == 1 else y * float(scale), x)


def celu(x: Any, alpha: float = 1.0) -> Any:
    """Source: Barron 2017, "Continuously differentiable exponential linear units"."""
    if alpha == 0:
        raise InputError(f"celu: alpha must not be 0; got {alpha}")
    return elu(x, alpha, 1.0, 1 / alpha)


def selu(x: Any) -> Any:
    """Source: Klambauer et al. 2017, "Self-normalizing neural networks", alpha and lambda of equation 14."""
    return elu(x, 1.6732632423543772, 1.0507009873554805)


def hardswish(x: Any) -> Any:
    z = widen(x)
    return narrow(z * hardtanh(z + 3.0, 0.0, 6.0) * (1 / 6), x)


def hardsigmoid(x: Any) -> Any:
    z = widen(x)
    y = bounded(z + 3.0, 0.0, 6.0) * (1 / 6)
    return narrow(op["straight_through"](y, between(z, -3.0, 3.0) * (1 / 6)), x)


def hardshrink(x: Any, size: float = 0.5) -> Any:
    """0 up to ``size``, x beyond it; NaN stays NaN, and lets no gradient through."""
    size = held(float(size), x.dtype)
    inside = op["bit_and"](op["ge"](x, -size), op["le"](x, size))
    return op["straight_through"](op["where"](inside, 0.0, x), outside(x, size))


def softshrink(x: Any, size: float = 0.5) -> Any:
    """0 up to ``size``, nearer to 0 by it beyond; NaN stays NaN, and lets no gradient through."""
    size = float(size)
    if size < 0:
        raise InputError(f"softshrink: lambd must not be below 0; got {size}")
    inner = op["where"](op["eq"](x, x), 0.0, x)
    y = op["where"](op["gt"](x, size), x - size, op["where"](op["lt"](x, -size), x + size, inner))
    return op["straight_through"](y, outside(x, held(size, x.dtype)))


def log_one_plus_exp(z: Any) -> Any:
    """log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|)): nothing overflows, and the gradient at 0 is 1/2."""
    above = z > 0
    return op["where"](above, z, 0.0) + op["log1p"](op["exp"](op["where"](above, -z, z)))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta x)) / beta; x itself past the threshold, as in torch."""
    if beta == 0:
        raise InputError(f"softplus: beta must not be 0; got {beta}")
    wide = widen(x)
    z = wide * float(beta)
    y = log_one_plus_exp(z) * (1 / beta)
    return narrow(op["where"](z > float(threshold), wide, y), x)


def log_sigmoid(x: Any) -> Any:
    """-log(1 + exp(-x)) = min(x, 0) - log(1 + exp(-|x|)): far above 0 it is 0, not -0."""
    z = widen(x)
    above = z > 0
    return narrow(op["where"](above, 0.0, z) - op["log1p"](op["exp"](op["where"](above, -z, z))), x)


def mish(x: Any) -> Any:
    """Source: Misra 2019, "Mish: a self regularized non-monotonic activation function"."""
    z = widen(x)
    return narrow(z * op["tanh"](softplus(z)), x)


def gated(x: Any, gate: Any) -> Any:
    """tanh(x) * sigmoid(gate). Source: van den Oord et al. 2016, "WaveNet: a generative model for raw audio", equation 2."""
    if tuple(gate.shape) != tuple(x.shape):
        raise ShapeError(f"gated: gate must be {list(x.shape)}, as x is; got {list(gate.shape)}")
    return narrow(op["tanh"](widen(x)) * op["sigmoid"](widen(gate)), x)
