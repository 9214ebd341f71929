"""adamw: one step of AdamW over flat arenas, in place. ``step`` counts from 1: it is the number of this very step.

p1 = p * (1 - lr * weight_decay);  m' = beta1 * m + (1 - beta1) * g;  v' = beta2 * v + (1 - beta2) * g**2
p' = p1 - lr * (m' / (1 - beta1**step)) / (sqrt(v' / (1 - beta2**step)) + eps)
Source: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2, as in torch.optim.AdamW.
"""

from __future__ import annotations

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import optimizers as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import types_of
from tritoncnn.ops.sgd import check_arenas


def infer(p: TensorType, g: TensorType, m: TensorType, v: TensorType, lr: TensorType, step: TensorType, *, beta1: float,
          beta2: float, eps: float, weight_decay: float) -> tuple[TensorType, ...]:  # fmt: skip
    check_arenas("adamw", p, g, m, v, lr=lr)
    if step.rank != 0 or step.dtype != "i64":
        raise ShapeError(f"adamw: step must be a 0-d i64 tensor; got {step}")
    return tuple(TensorType.dense(t.dtype, t.shape) for t in (p, m, v))


def reference(p: torch.Tensor, g: torch.Tensor, m: torch.Tensor, v: torch.Tensor, lr: torch.Tensor, step: torch.Tensor,
              *, beta1: float, beta2: float, eps: float, weight_decay: float) -> tuple[torch.Tensor, ...]:  # fmt: skip
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    mean = m / (1 - beta1 ** step.double()).to(m.dtype)
    root = (v / (1 - beta2 ** step.double()).to(v.dtype)).sqrt()
    return p * (1 - lr * weight_decay) - lr * mean / (root + eps), m, v


def lower(node: Node, target: Target) -> Lowering:
    (p, m, v), (_, g, _, _, lr, step) = types_of(node)
    attrs = {key: value for key, value in node.attrs.items() if key not in ("beta1", "beta2")}
    betas = (node.attrs["beta1"], node.attrs["beta2"])
    launch = kernel.adamw(p, m, v, g, lr, step, betas=betas, **attrs, target=target)  # type: ignore[arg-type]
    return Lowering(((launch, ("r0", "r1", "r2", "o1", "o4", "o5")),))


SAMPLES = tuple(
    ((*((size,),) * 3, ("positive", (size,)), (), ("i64", (), 100, 1)),
     {"beta1": 0.9, "beta2": beta2, "eps": 1e-8, "weight_decay": decay})
    for size, beta2, decay in ((37, 0.999, 0.01), (1, 0.99, 0.0), (0, 0.999, 0.0), (5000, 0.999, 0.5))
)  # fmt: skip
adamw = OpDef("adamw", infer, reference, lower=lower, arity=6, inplace=((0, 0), (1, 2), (2, 3)), samples=SAMPLES)
