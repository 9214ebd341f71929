"""log_softmax: y[n,c] = x[n,c] - log sum_c exp(x[n,c]), over the last dim of a matrix."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import softmax_cross_entropy as kernel
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.exp import exp
from tritoncnn.ops.lowering import one_launch
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.sum import sum_
from tritoncnn.ops.window import check_float


def infer(x: TensorType) -> TensorType:
    if x.rank != 2:
        raise ShapeError(f"log_softmax: x must be [N, C]; got {list(x.shape)}")
    check_float("log_softmax", x, "x")
    return TensorType.dense(x.dtype, x.shape)


def reference(x: torch.Tensor) -> torch.Tensor:
    return x.log_softmax(1)


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy - exp(y) * reshape(sum_(dy, dims=(1,)), shape=(x.shape[0], 1)),)


def lower(node: Node) -> Lowering:
    return one_launch(node, kernel.softmax(node.result.type, node.operands[0].type, log=True))


SAMPLES: tuple[Any, ...] = tuple(((shape,), {}) for shape in ((5, 10), (1, 1), (0, 3), (65, 33), (3, 1000)))
log_softmax = OpDef("log_softmax", infer, reference, grad, lower, samples=SAMPLES)
