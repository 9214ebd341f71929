"""matmul: y[m,n] = sum_k a[m,k] * b[k,n]; with ``sums`` also sums[n] = sum_k b[k,n], the bias gradient beside dw.

Dims before the last two number the matrices of a batch; they broadcast as in torch.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import matmul as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef, Types, broadcast_shape, sum_to
from tritoncnn.ops.lowering import epilogue_of, in_parts, types_of
from tritoncnn.ops.permute import permute
from tritoncnn.ops.window import check_float, check_same_dtype


def infer(a: TensorType, b: TensorType, *, sums: bool = False) -> Types:
    if a.rank < 2 or b.rank < 2 or a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"matmul: a [..., M, K] and b [..., K, N] must share K; got {list(a.shape)} and {list(b.shape)}"
        )
    if sums and (a.rank, b.rank) != (2, 2):
        raise ShapeError(f"matmul: sums go with one matrix; got a {list(a.shape)} and b {list(b.shape)}")
    check_float("matmul", a, "a")
    check_same_dtype("matmul", a, b, "a and b")
    batch = broadcast_shape(a.shape[:-2], b.shape[:-2])
    y = TensorType.dense(a.dtype, (*batch, a.shape[-2], b.shape[-1]))
    return (y, TensorType.dense(a.dtype, (b.shape[1],))) if sums else y


def reference(a: torch.Tensor, b: torch.Tensor, *, sums: bool = False) -> Any:
    return (a @ b, b.sum(0)) if sums else a @ b


def _transposed(x: Any) -> Any:
    rank = len(x.shape)
    return permute(x, dims=(*range(rank - 2), rank - 1, rank - 2))


def grad(dy: Any, y: Any, a: Any, b: Any, *, sums: bool = False) -> tuple[Any, Any]:
    """What was broadcast to several matrices gets the sum of their gradients."""
    da, db = matmul(dy, _transposed(b)), matmul(_transposed(a), dy)
    return sum_to(da, tuple(a.shape)), sum_to(db, tuple(b.shape))


def scaled(s: Any, a: Any, b: Any, **attrs: Any) -> tuple[Any, Any]:
    return a, b * s


def side_sum(types: tuple[TensorType, ...]) -> tuple[str, tuple[int, ...]] | None:
    return ("sums", (0,)) if types[0].rank == types[1].rank == 2 else None


def lower(node: Node, target: Target) -> Lowering:
    (y, *sums), (a, b, *_) = types_of(node)
    launches, workspace = kernel.matmul(
        y, a, b, sums=sums[0] if sums else None, epilogue=epilogue_of(node, 2), target=target
    )
    return in_parts(node, launches, workspace, 2)


SAMPLES = (
    *((shapes, {}) for shapes in (
        ((5, 7), (7, 3)), ((1, 1), (1, 1)), ((0, 4), (4, 3)), ((3, 0), (0, 2)), ((65, 33), (33, 129)),
        ((1, 120), (120, 10)), ((17, 1), (1, 3)), ((40, 3), (3, 3)),
    )),
    *((shapes, {}) for shapes in (
        ((3, 5, 7), (3, 7, 4)), ((2, 1, 5, 7), (3, 7, 17)), ((4, 6), (2, 6, 3)), ((2, 3, 4, 1, 5), (1, 4, 5, 2)),
        ((0, 2, 3), (0, 3, 4)), ((2, 3, 0), (2, 0, 4)), ((33, 2, 40), (40, 33)), ((2, 1, 2, 1, 3, 4), (2, 1, 2, 1, 4, 3)),
    )),
    *((shapes, {"sums": True}) for shapes in (((5, 7), (7, 3)), ((0, 4), (4, 3)), ((33, 2000), (2000, 17)))),
)  # fmt: skip
matmul = OpDef(
    "matmul", infer, reference, grad, lower, arity=2, epilogue=True, any_strides=True, stored={1: {2: (0, 1)}},
    scaled=scaled, channel=-1, side_sum=side_sum, samples=SAMPLES,
)  # fmt: skip
