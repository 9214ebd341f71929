"""matmul: y[m,n] = sum_k a[m,k] * b[k,n]."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import matmul as kernel
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import epilogue_of, in_parts, types_of
from tritoncnn.ops.permute import permute
from tritoncnn.ops.window import check_float, check_same_dtype


def infer(a: TensorType, b: TensorType) -> TensorType:
    if a.rank != 2 or b.rank != 2 or a.shape[1] != b.shape[0]:
        raise ShapeError(f"matmul: a [M, K] and b [K, N] must share K; got {list(a.shape)} and {list(b.shape)}")
    check_float("matmul", a, "a")
    check_same_dtype("matmul", a, b, "a and b")
    return TensorType.dense(a.dtype, (a.shape[0], b.shape[1]))


def grad(dy: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    return matmul(dy, permute(b, dims=(1, 0))), matmul(permute(a, dims=(1, 0)), dy)


def lower(node: Node) -> Lowering:
    (y,), (a, b, *_) = types_of(node)
    launches, workspace = kernel.matmul(y, a, b, epilogue=epilogue_of(node, 2))
    return in_parts(node, launches, workspace, 2)


SAMPLES = tuple(
    (shapes, {}) for shapes in (
        ((5, 7), (7, 3)), ((1, 1), (1, 1)), ((0, 4), (4, 3)), ((3, 0), (0, 2)), ((65, 33), (33, 129)),
        ((1, 120), (120, 10)),
    )
)  # fmt: skip
matmul = OpDef("matmul", infer, torch.matmul, grad, lower, arity=2, epilogue=True, samples=SAMPLES)
