"""straight_through: the value of y, with the gradient of ``path``.

For a function whose gradient at a corner is not that of the formula that is best for its value.
Source: Bengio et al. 2013, "Estimating or propagating gradients through stochastic neurons", section 4.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import GraphError
from tritoncnn.ir import TensorType
from tritoncnn.ops.define import OpDef


def infer(y: TensorType, path: TensorType) -> TensorType:
    if (y.dtype, y.shape) != (path.dtype, path.shape):
        raise GraphError(f"straight_through: path must be {y}, as y is; got {path}")
    return TensorType.dense(y.dtype, y.shape)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, path: torch.Tensor) -> torch.Tensor:
        return y.clone()

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, dy


def reference(y: torch.Tensor, path: torch.Tensor) -> torch.Tensor:
    answer: torch.Tensor = _StraightThrough.apply(y, path)
    return answer


def grad(dy: Any, answer: Any, y: Any, path: Any) -> tuple[None, Any]:
    return None, dy


def compose(y: Any, path: Any) -> Any:
    return y


straight_through = OpDef(
    "straight_through", infer, reference, grad, compose=compose, arity=2,
    samples=((((2, 3, 5), (2, 3, 5)), {}), (((0, 2), (0, 2)), {}), (((), ()), {})),
)  # fmt: skip
