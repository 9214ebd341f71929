"""ema: one step of the exponential moving average of a flat arena, in place. ``step`` is this step's number, from 1.

e' = e + (p - e) * (1 - decay), and p itself in step 1.  Source: torch.optim.swa_utils.get_ema_multi_avg_fn.
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


def infer(e: TensorType, p: TensorType, step: TensorType, *, decay: float) -> TensorType:
    check_arenas("ema", e, p)
    if step.rank != 0 or step.dtype != "i64":
        raise ShapeError(f"ema: step must be a 0-d i64 tensor; got {step}")
    return TensorType.dense(e.dtype, e.shape)


def reference(e: torch.Tensor, p: torch.Tensor, step: torch.Tensor, *, decay: float) -> torch.Tensor:
    return torch.where(step == 1, p, e + (p - e) * (1 - decay))


def lower(node: Node, target: Target) -> Lowering:
    (e,), (_, p, step) = types_of(node)
    return Lowering(((kernel.ema(e, p, step, **node.attrs, target=target), ("r0", "o1", "o2")),))  # type: ignore[arg-type]


SAMPLES = tuple(
    (((size,), (size,), ("i64", (), last, first)), {"decay": decay})
    for size, decay, first, last in ((37, 0.5, 1, 2), (1, 0.9, 2, 9), (0, 0.99, 1, 9), (5000, 0.999, 2, 9))
)
ema = OpDef("ema", infer, reference, lower=lower, arity=3, inplace=((0, 0),), samples=SAMPLES)
