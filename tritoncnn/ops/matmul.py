"""matmul: y[m,n] = sum_k a[m,k] * b[k,n]; with ``sums`` also sums[n] = sum_k b[k,n], the bias gradient beside dw.

With ``panels`` b are panels of one matrix, [N / B, K, B]: ``kernels/panels.py``.
Dims before the last two number the matrices of a batch; they broadcast as in torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Attr, Node, TensorType
from tritoncnn.kernels import matmul as kernel
from tritoncnn.kernels.panels import check_panels
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import InPanels, Lowering, OpDef, Types, broadcast_shape, sum_to
from tritoncnn.ops.lowering import epilogue_of, in_parts, types_of
from tritoncnn.ops.panels import matrix_in_panels, matrix_of
from tritoncnn.ops.permute import permute
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.window import check_float, check_same_dtype


def infer(a: TensorType, b: TensorType, *, sums: bool = False, panels: bool = False) -> Types:
    if panels:
        b = TensorType.dense(b.dtype, check_panels("matmul", "b", b))
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


def reference(a: torch.Tensor, b: torch.Tensor, *, sums: bool = False, panels: bool = False) -> Any:
    b = matrix_of(b) if panels else b
    return (a @ b, b.sum(0)) if sums else a @ b


def _transposed(x: Any) -> Any:
    rank = len(x.shape)
    return permute(x, dims=(*range(rank - 2), rank - 1, rank - 2))


def grad(dy: Any, y: Any, a: Any, b: Any, *, sums: bool = False, panels: bool = False) -> tuple[Any, Any]:
    """What was broadcast to several matrices gets the sum of their gradients."""
    matrix = matrix_of(b) if panels else b
    da, db = matmul(dy, _transposed(matrix)), matmul(_transposed(a), dy)
    if panels:
        return sum_to(da, tuple(a.shape)), matrix_in_panels(db, b.shape[2])
    return sum_to(da, tuple(a.shape)), sum_to(db, tuple(b.shape))


def scaled(s: Any, a: Any, b: Any, *, panels: bool = False, **attrs: Any) -> tuple[Any, Any]:
    return a, b * (reshape(s, shape=(b.shape[0], 1, b.shape[2])) if panels else s)


def panelled(types: tuple[TensorType, ...], attrs: Mapping[str, Attr]) -> InPanels | None:
    one = types[0].rank == types[1].rank == 2 and "sums" not in attrs
    return (1, (0,), {"panels": True}) if one else None


def side_sum(types: tuple[TensorType, ...]) -> tuple[str, tuple[int, ...]] | None:
    return ("sums", (0,)) if types[0].rank == types[1].rank == 2 else None


def lower(node: Node, target: Target) -> Lowering:
    (y, *sums), (a, b, *_) = types_of(node)
    launches, workspace = kernel.matmul(
        y, a, b, sums=sums[0] if sums else None, epilogue=epilogue_of(node, 2), panels=bool(node.attrs.get("panels")),
        target=target,
    )  # fmt: skip
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
    *((shapes, {"panels": True}) for shapes in (((5, 7), (2, 7, 64)), ((1, 700), (3, 700, 32)), ((40, 65), (2, 65, 64)))),
)  # fmt: skip
matmul = OpDef(
    "matmul", infer, reference, grad, lower, arity=2, epilogue=True, any_strides=True, stored={1: {2: (0, 1)}},
    scaled=scaled, panelled=panelled, channel=-1, side_sum=side_sum, samples=SAMPLES,
)  # fmt: skip
