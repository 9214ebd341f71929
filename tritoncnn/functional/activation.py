"""Activations and softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tritoncnn.errors import InputError, ShapeError
from tritoncnn.formulas import matrix
from tritoncnn.formulas import pointwise as point
from tritoncnn.functional.dispatch import AnyFloat, fused, under_autocast
from tritoncnn.ops import OPS

__all__ = [
    "activate", "elu", "gated", "gelu", "hardsigmoid", "hardswish", "leaky_relu", "log_softmax", "mish",
    "prelu", "relu", "relu6", "sigmoid", "silu", "softmax", "softplus", "tanh",
]  # fmt: skip

Tensor = torch.Tensor

# Those without parameters, by the name that other fused ops take as ``activation``.
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "none": lambda x: x,
    "relu": OPS["relu"],
    "relu6": point.relu6,
    "leaky_relu": point.leaky_relu,
    "sigmoid": OPS["sigmoid"],
    "tanh": OPS["tanh"],
    "silu": point.silu,
    "gelu": point.gelu,
    "gelu_tanh": lambda x: point.gelu(x, "tanh"),
    "elu": point.elu,
    "hardswish": point.hardswish,
    "hardsigmoid": point.hardsigmoid,
    "softplus": point.softplus,
    "mish": point.mish,
}


def apply_activation(name: str, y: Any) -> Any:
    """Raises InputError for a name that is not in ACTIVATIONS."""
    if name not in ACTIVATIONS:
        raise InputError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {name!r}")
    return ACTIVATIONS[name](y)


def add_residual(name: str, y: Any, residual: Any) -> Any:
    """y + residual, y itself for None. Raises ShapeError."""
    if residual is not None and tuple(residual.shape) != tuple(y.shape):
        raise ShapeError(f"{name}: residual must be {list(y.shape)}, as the output is; got {list(residual.shape)}")
    return y if residual is None else y + residual


@fused
def _activate(x: Tensor, activation: str) -> Any:
    return apply_activation(activation, x)


@fused
def _leaky_relu(x: Tensor, negative_slope: float) -> Any:
    return point.leaky_relu(x, negative_slope)


@fused
def _elu(x: Tensor, alpha: float) -> Any:
    return point.elu(x, alpha)


@fused
def _softplus(x: Tensor, beta: float, threshold: AnyFloat) -> Any:
    return point.softplus(x, beta, threshold)


@under_autocast("low")
@fused
def _prelu(x: Tensor, weight: Tensor) -> Any:
    return point.prelu(x, weight)


@under_autocast("widest")
@fused
def _gated(x: Tensor, gate: Tensor) -> Any:
    return point.gated(x, gate)


@fused
def _softmax(x: Tensor, dim: int, dtype: torch.dtype | None) -> Any:
    return matrix.softmax(x, dim, dtype)


@fused
def _log_softmax(x: Tensor, dim: int, dtype: torch.dtype | None) -> Any:
    return matrix.log_softmax(x, dim, dtype)


def activate(x: Tensor, activation: str) -> Tensor:
    """One of ACTIVATIONS by name, for x of any shape (f32, bf16, f16). Raises InputError, DTypeError."""
    return _activate(x, activation)[0]


def relu(x: Tensor) -> Tensor:
    """max(x, 0); NaN stays NaN."""
    return _activate(x, "relu")[0]


def relu6(x: Tensor) -> Tensor:
    """min(max(x, 0), 6)."""
    return _activate(x, "relu6")[0]


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return _activate(x, "sigmoid")[0]


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return _activate(x, "tanh")[0]


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x). Source: Elfwing et al. 2017."""
    return _activate(x, "silu")[0]


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution's cumulative function at x, exact (erf) or by ``approximate="tanh"``.

    Source: Hendrycks & Gimpel 2016, "Gaussian error linear units".
    """
    if approximate not in ("none", "tanh"):
        raise InputError(f"gelu: approximate must be 'none' or 'tanh'; got {approximate!r}")
    return _activate(x, "gelu" if approximate == "none" else "gelu_tanh")[0]


def hardswish(x: Tensor) -> Tensor:
    """x relu6(x + 3) / 6. Source: Howard et al. 2019, "Searching for MobileNetV3"."""
    return _activate(x, "hardswish")[0]


def hardsigmoid(x: Tensor) -> Tensor:
    """relu6(x + 3) / 6."""
    return _activate(x, "hardsigmoid")[0]


def mish(x: Tensor) -> Tensor:
    """x tanh(softplus(x)). Source: Misra 2019."""
    return _activate(x, "mish")[0]


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x above 0, x times ``negative_slope`` elsewhere."""
    return _leaky_relu(x, negative_slope)[0]


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x above 0, alpha (exp(x) - 1) elsewhere. Source: Clevert et al. 2015."""
    return _elu(x, alpha)[0]


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta; x itself where beta x passes ``threshold``."""
    return _softplus(x, beta, threshold)[0]


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x above 0, x times weight elsewhere; weight one number or [C] for x [N, C, ...]. Source: He et al. 2015.

    Raises ShapeError when weight has another number of channels.
    """
    return _prelu(x, weight)[0]


def gated(x: Tensor, gate: Tensor) -> Tensor:
    """tanh(x) sigmoid(gate), of equal shapes. Source: van den Oord et al. 2016, "WaveNet", equation 2."""
    return _gated(x, gate)[0]


def softmax(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """exp(x) over its sum along ``dim``. Fast where dim is contiguous: the last, or 1 of channels-last pictures.

    ``dtype``: x is cast to it first (f32, bf16 or f16). Raises ShapeError, DTypeError, UnsupportedError.
    """
    return _softmax(x, dim, dtype)[0]


def log_softmax(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """x - log(sum of exp(x) along ``dim``); as softmax."""
    return _log_softmax(x, dim, dtype)[0]
