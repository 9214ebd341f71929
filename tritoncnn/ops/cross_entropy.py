"""cross_entropy: loss = mean_n(log sum_c exp(logits[n,c]) - logits[n, target[n]]), and dlogits = d loss / d logits.

Both come from one pass over the logits, so the gradient is a result of the forward op.
dlogits[n,c] = (softmax(logits)[n,c] - (c == target[n])) / rows. Rows whose target is ``ignore_index`` do not count: the mean is
over the others, and their gradient is 0. Other targets must lie in 0..C-1.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import softmax_cross_entropy as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import one_launch, types_of
from tritoncnn.ops.window import check_float


def infer(logits: TensorType, target: TensorType, *, ignore_index: int = -100) -> tuple[TensorType, TensorType]:
    if logits.rank != 2 or target.shape != logits.shape[:1]:
        raise ShapeError(
            f"cross_entropy: logits must be [N, C] and target [N]; got {list(logits.shape)} and {list(target.shape)}"
        )
    check_float("cross_entropy", logits, "logits")
    if target.dtype != "i64":
        raise DTypeError(f"cross_entropy: target must be i64 class numbers; got {target.dtype}")
    return TensorType.dense(logits.dtype, ()), TensorType.dense(logits.dtype, logits.shape)


def reference(
    logits: torch.Tensor, target: torch.Tensor, *, ignore_index: int = -100
) -> tuple[torch.Tensor, torch.Tensor]:
    loss = torch.nn.functional.cross_entropy(logits, target, ignore_index=ignore_index)
    counts = target != ignore_index
    hot = torch.nn.functional.one_hot(torch.where(counts, target, 0), logits.shape[1]).to(logits.dtype)
    return loss, (logits.softmax(1) - hot) * counts[:, None] / counts.sum().clamp(min=1)


def grad(dloss: Any, y: Any, logits: Any, target: Any, *, ignore_index: int = -100) -> tuple[Any, None]:
    return y[1] * dloss, None


def lower(node: Node, target: Target) -> Lowering:
    """Many rows: a launch counts them, one writes dlogits and a part of the loss per program, the last adds the parts."""
    (loss, dlogits), (logits, labels) = types_of(node)
    ignored = int(node.attrs.get("ignore_index", -100))  # type: ignore[call-overload]
    launches, workspaces = kernel.softmax_cross_entropy(
        loss, dlogits, logits, labels, ignore_index=ignored, target=target
    )
    if not workspaces:
        return one_launch(node, launches[0])
    refs = (("w1", "o1"), ("w0", "r1", "o0", "o1", "w1"), ("r0", "w0"))
    return Lowering(tuple(zip(launches, refs, strict=True)), workspaces)


SAMPLES: tuple[Any, ...] = (
    *(((shape, ("i64", shape[:1], shape[1])), {}) for shape in ((5, 10), (1, 1), (0, 3), (65, 33), (3, 1000))),
    (((9, 3), ("i64", (9,), 3)), {"ignore_index": 1}),
    (((70, 300), ("i64", (70,), 2)), {"ignore_index": 0}),
    (((4, 3), ("i64", (4,), 3)), {"ignore_index": 255}),
)
cross_entropy = OpDef("cross_entropy", infer, reference, grad, lower, arity=2, samples=SAMPLES)
