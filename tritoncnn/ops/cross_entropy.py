"""cross_entropy: loss = mean_n(log sum_c exp(logits[n,c]) - logits[n, target[n]]), and dlogits = d loss / d logits.

Both come from one pass over the logits, so the gradient is a result of the forward op.
dlogits[n,c] = (softmax(logits)[n,c] - (c == target[n])) / N. Targets must lie in 0..C-1.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import softmax_cross_entropy as kernel
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import one_launch, types_of
from tritoncnn.ops.window import check_float


def infer(logits: TensorType, target: TensorType) -> tuple[TensorType, TensorType]:
    if logits.rank != 2 or target.shape != logits.shape[:1]:
        raise ShapeError(
            f"cross_entropy: logits must be [N, C] and target [N]; got {list(logits.shape)} and {list(target.shape)}"
        )
    check_float("cross_entropy", logits, "logits")
    if target.dtype != "i64":
        raise DTypeError(f"cross_entropy: target must be i64 class numbers; got {target.dtype}")
    return TensorType.dense(logits.dtype, ()), TensorType.dense(logits.dtype, logits.shape)


def reference(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    loss = torch.nn.functional.cross_entropy(logits, target)
    hot = torch.nn.functional.one_hot(target, logits.shape[1]).to(logits.dtype)
    return loss, (logits.softmax(1) - hot) / max(len(logits), 1)


def grad(dloss: Any, y: Any, logits: Any, target: Any) -> tuple[Any, None]:
    return y[1] * dloss, None


def lower(node: Node) -> Lowering:
    """Many rows: the first launch writes dlogits and a part of the loss per program, the second adds the parts."""
    (loss, dlogits), (logits, target) = types_of(node)
    launches, workspace = kernel.softmax_cross_entropy(loss, dlogits, logits, target)
    if workspace is None:
        return one_launch(node, launches[0])
    return Lowering(((launches[0], ("w0", "r1", "o0", "o1")), (launches[1], ("r0", "w0"))), (workspace,))


SAMPLES: tuple[Any, ...] = tuple(
    ((shape, ("i64", shape[:1], shape[1])), {}) for shape in ((5, 10), (1, 1), (0, 3), (65, 33), (3, 1000))
)
cross_entropy = OpDef("cross_entropy", infer, reference, grad, lower, arity=2, samples=SAMPLES)
