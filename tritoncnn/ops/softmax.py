"""softmax: y[n,c] = exp(x[n,c]) / sum_c exp(x[n,c]), and log_softmax, its logarithm, over the last dim of a matrix."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import softmax_cross_entropy as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.exp import exp
from tritoncnn.ops.lowering import one_launch
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.sum import sum_
from tritoncnn.ops.window import check_float


def infer(name: str, x: TensorType) -> TensorType:
    if x.rank != 2:
        raise ShapeError(f"{name}: x must be [N, C]; got {list(x.shape)}")
    check_float(name, x, "x")
    return TensorType.dense(x.dtype, x.shape)


def _row_sums(x: Any) -> Any:
    return reshape(sum_(x, dims=(1,)), shape=(x.shape[0], 1))


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (y * (dy - _row_sums(dy * y)),)


def log_grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy - exp(y) * _row_sums(dy),)


def lower(log: bool, node: Node, target: Target) -> Lowering:
    return one_launch(node, kernel.softmax(node.result.type, node.operands[0].type, log=log, target=target))


SAMPLES: tuple[Any, ...] = tuple(((shape,), {}) for shape in ((5, 10), (1, 1), (0, 3), (65, 33), (3, 1000)))
softmax = OpDef(
    "softmax", partial(infer, "softmax"), partial(torch.softmax, dim=1), grad, partial(lower, False), samples=SAMPLES
)
log_softmax = OpDef(
    "log_softmax", partial(infer, "log_softmax"), partial(torch.log_softmax, dim=1), log_grad, partial(lower, True),
    samples=SAMPLES,
)  # fmt: skip
