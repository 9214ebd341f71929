"""sgd: one step of stochastic gradient descent with momentum over flat arenas, in place.

g' = g + weight_decay * p;  m' = momentum * m + g';  p' = p - lr * (g' + momentum * m' if nesterov else m').
Source: torch.optim.SGD with dampening 0; m starts as zeros, which makes the first step torch's.
"""

from __future__ import annotations

import torch

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import optimizers as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import types_of


def check_arenas(op: str, *arenas: TensorType, lr: TensorType | None = None) -> None:
    """Raises unless the arenas are flat, of one size and dtype, and lr is a 0-d float."""
    first = arenas[0]
    if first.rank != 1 or any(arena.shape != first.shape for arena in arenas):
        raise ShapeError(f"{op}: arenas must be flat and of one size; got {[list(a.shape) for a in arenas]}")
    if not first.is_float or any(arena.dtype != first.dtype for arena in arenas):
        raise DTypeError(f"{op}: arenas must hold floats of one dtype; got {', '.join(a.dtype for a in arenas)}")
    if lr is not None and (lr.rank != 0 or not lr.is_float):
        raise ShapeError(f"{op}: lr must be a 0-d float tensor; got {lr}")


def infer(p: TensorType, g: TensorType, m: TensorType, lr: TensorType, *, momentum: float, weight_decay: float,
          nesterov: bool) -> tuple[TensorType, ...]:  # fmt: skip
    check_arenas("sgd", p, g, m, lr=lr)
    return TensorType.dense(p.dtype, p.shape), TensorType.dense(m.dtype, m.shape)


def reference(p: torch.Tensor, g: torch.Tensor, m: torch.Tensor, lr: torch.Tensor, *, momentum: float,
              weight_decay: float, nesterov: bool) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    g = g + weight_decay * p
    m = momentum * m + g
    return p - lr * (g + momentum * m if nesterov else m), m


def lower(node: Node, target: Target) -> Lowering:
    (p, m), (_, g, _, lr) = types_of(node)
    return Lowering(((kernel.sgd(p, m, g, lr, **node.attrs, target=target), ("r0", "r1", "o1", "o3")),))  # type: ignore[arg-type]


SAMPLES = tuple(
    (((size,), (size,), (size,), ()), {"momentum": momentum, "weight_decay": decay, "nesterov": nesterov})
    for size, momentum, decay, nesterov in (
        (37, 0.9, 0.0, False), (1, 0.5, 0.25, True), (0, 0.9, 0.0, False), (5000, 0.9, 0.5, True)
    )
)  # fmt: skip
sgd = OpDef("sgd", infer, reference, lower=lower, arity=4, inplace=((0, 0), (1, 2)), samples=SAMPLES)
