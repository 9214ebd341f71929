"""ATen pointwise ops in terms of ours. Composites are written so that their gradient is torch's also at the corners."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tritoncnn.errors import InputError, ShapeError, UnsupportedError
from tritoncnn.ops import OPS, Sym

Emit = Callable[..., Any]
op = OPS  # short, because formulas are read better on one line


def as_float(x: Any) -> Any:
    """Truth values and integers take part in arithmetic as f32; floats and numbers stay what they are."""
    if isinstance(x, Sym) and not x.value.type.is_float:
        return op["cast_f32"](x)
    if isinstance(x, Sym) and x.dtype == "f64":
        raise UnsupportedError("arithmetic on f64")
    return x


def widen(x: Any) -> Any:
    """A 16-bit float as f32, in which composites compute; f32 as it is."""
    return op["cast_f32"](x) if isinstance(x, Sym) and x.dtype in ("f16", "bf16") else x


def narrow(y: Any, like: Any) -> Any:
    """y rounded to the dtype of ``like``, once."""
    return op[f"cast_{like.dtype}"](y) if like.dtype in ("f16", "bf16") and y.dtype != like.dtype else y


def unary(name: str) -> Emit:
    return lambda x: op[name](as_float(x))


def binary(name: str) -> Emit:
    return lambda a, b: op[name](as_float(a), as_float(b))


def compare(name: str) -> Emit:
    def emit(a: Any, b: Any) -> Any:
        same = not isinstance(b, Sym) or a.dtype == b.dtype
        return op[name](a, b) if same and a.dtype != "i1" else op[name](as_float(a), as_float(b))

    return emit


def add(a: Any, b: Any, alpha: float = 1) -> Any:
    b = as_float(b)
    return op["add"](as_float(a), b if alpha == 1 else b * alpha)


def sub(a: Any, b: Any, alpha: float = 1) -> Any:
    b = as_float(b)
    return op["sub"](as_float(a), b if alpha == 1 else b * alpha)


def rsub(a: Any, b: Any, alpha: float = 1) -> Any:
    return sub(b, a, alpha=alpha) if isinstance(b, Sym) else as_float(a) * float(-alpha) + b


def clamp(x: Any, low: float | None = None, high: float | None = None) -> Any:
    """Gradient 1 on the bounds, as torch has it; NaN stays NaN."""
    if high is not None:
        x = op["where"](x > high, float(high), x)
    return x if low is None else op["where"](x < low, float(low), x)


def clamp_max(x: Any, high: float) -> Any:
    return clamp(x, None, high)


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


def power(x: Any, exponent: float) -> Any:
    x = as_float(x)
    table: dict[float, Callable[[], Any]] = {
        1.0: lambda: x,
        2.0: lambda: x * x,
        3.0: lambda: x * x * x,
        4.0: lambda: (x * x) * (x * x),
        0.5: lambda: op["sqrt"](x),
        -0.5: lambda: op["rsqrt"](x),
        -1.0: lambda: op["reciprocal"](x),
        -2.0: lambda: op["reciprocal"](x * x),
    }
    if isinstance(exponent, Sym) or float(exponent) not in table:
        raise UnsupportedError(f"a power of {exponent if not isinstance(exponent, Sym) else 'a tensor'}")
    return table[float(exponent)]()


def square(x: Any) -> Any:
    return power(x, 2)


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


def where(condition: Any, a: Any, b: Any) -> Any:
    if not isinstance(a, Sym) and not isinstance(b, Sym):
        return op["cast_f32"](condition) * (float(a) - float(b)) + float(b)
    return op["where"](condition, as_float(a), as_float(b))
