"""standardize_rows: what ``standardize`` is for the last dim of a matrix, in one pass over memory: rows of a layer norm."""

from __future__ import annotations

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import row_norm as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import epilogue_of, one_launch, types_of
from tritoncnn.ops.window import check_float


def infer(x: TensorType, *, eps: float) -> tuple[TensorType, TensorType, TensorType]:
    check_float("standardize_rows", x, "x")
    if x.rank != 2 or not 1 <= x.shape[1] <= kernel.LONGEST_ROW:
        raise ShapeError(f"standardize_rows: x must be [N, 1 to {kernel.LONGEST_ROW}]; got {list(x.shape)}")
    one = TensorType.dense(x.dtype, (x.shape[0], 1))
    return TensorType.dense(x.dtype, x.shape), one, one


def reference(x: torch.Tensor, *, eps: float) -> tuple[torch.Tensor, ...]:
    mean = x.mean(1, keepdim=True)
    var = (x - mean).square().mean(1, keepdim=True)
    return (x - mean) / (var + eps).sqrt(), mean, var


def lower(node: Node, target: Target) -> Lowering:
    (y, mean, var), (x, *_) = types_of(node)
    return one_launch(
        node, kernel.row_norm(y, mean, var, x, eps=node.attrs["eps"], epilogue=epilogue_of(node, 1), target=target)
    )  # type: ignore[arg-type]


SAMPLES = tuple(((shape,), {"eps": 1e-5}) for shape in ((4, 33), (1, 1), (0, 3), (65, 768), (3, 1000)))
standardize_rows = OpDef("standardize_rows", infer, reference, lower=lower, epilogue=True, samples=SAMPLES)
