"""sgd_plain: one step of stochastic gradient descent without momentum over flat arenas, in place.

p' = p - lr * (g + weight_decay * p).  Source: torch.optim.SGD.
"""

from __future__ import annotations

import torch

from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import optimizers as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import types_of
from tritoncnn.ops.sgd import check_arenas


def infer(p: TensorType, g: TensorType, lr: TensorType, *, weight_decay: float) -> TensorType:
    check_arenas("sgd_plain", p, g, lr=lr)
    return TensorType.dense(p.dtype, p.shape)


def reference(p: torch.Tensor, g: torch.Tensor, lr: torch.Tensor, *, weight_decay: float) -> torch.Tensor:
    return p - lr * (g + weight_decay * p)


def lower(node: Node, target: Target) -> Lowering:
    (p,), (_, g, lr) = types_of(node)
    return Lowering(((kernel.sgd(p, None, g, lr, **node.attrs, target=target), ("r0", "o1", "o2")),))  # type: ignore[arg-type]


SAMPLES = tuple(
    (((size,), (size,), ()), {"weight_decay": decay}) for size, decay in ((37, 0.0), (1, 0.25), (0, 0.0), (5000, 0.5))
)
sgd_plain = OpDef("sgd_plain", infer, reference, lower=lower, arity=3, inplace=((0, 0),), samples=SAMPLES)
