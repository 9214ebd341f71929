"""softmax: y[n,c] = exp(x[n,c]) / sum_c exp(x[n,c]), over the last dim of a matrix."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import softmax_cross_entropy as kernel
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import one_launch
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.sum import sum_
from tritoncnn.ops.window import check_float


def infer(x: TensorType) -> TensorType:
    if x.rank != 2:
        raise ShapeError(f"softmax: x must be [N, C]; got {list(x.shape)}")
    check_float("softmax", x, "x")
    return TensorType.dense(x.dtype, x.shape)


def reference(x: torch.Tensor) -> torch.Tensor:
    return x.softmax(1)


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (y * (dy - reshape(sum_(dy * y, dims=(1,)), shape=(x.shape[0], 1))),)


def lower(node: Node) -> Lowering:
    return one_launch(node, kernel.softmax(node.result.type, node.operands[0].type))


SAMPLES: tuple[Any, ...] = tuple(((shape,), {}) for shape in ((5, 10), (1, 1), (0, 3), (65, 33), (3, 1000)))
softmax = OpDef("softmax", infer, reference, grad, lower, samples=SAMPLES)
