"""take: elements of x picked by an index tensor along one dim: gather, index_select, embedding.

y[.., j, ..] = x[.., index[.., j, ..], ..]. x and index have one rank and broadcast along the other dims. An index outside x gives
0, or NaN if ``strict`` (integers: 0 still), where a user's index would be an error that no kernel can raise.
The gradient leaves out the entries whose index is ``skip`` (-1: none), as the padding index of an embedding asks.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import take as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef, broadcast_shape, dtype_of, is_float, sum_to
from tritoncnn.ops.lowering import one_launch, types_of
from tritoncnn.ops.put import put

FLOATS = ("f64", "f32", "f16", "bf16")


def check_index(op: str, x: TensorType, index: TensorType, dim: int) -> None:
    """Raises DTypeError unless the index holds whole numbers, ShapeError unless the ranks agree and dim is one of them."""
    if index.dtype not in kernel.INDEX_TYPES:
        raise DTypeError(f"{op}: index must hold {' or '.join(kernel.INDEX_TYPES)}; got {index.dtype}")
    if index.rank != x.rank or not 0 <= dim < x.rank:
        raise ShapeError(
            f"{op}: index must have the {x.rank} dims of x {list(x.shape)}, and dim be one of them; "
            f"got {list(index.shape)} and dim {dim}"
        )


def infer(x: TensorType, index: TensorType, *, dim: int, skip: int = -1, strict: bool = False) -> TensorType:
    check_index("take", x, index, dim)
    n = index.shape[dim]
    return TensorType.dense(x.dtype, broadcast_shape((*x.shape[:dim], n, *x.shape[dim + 1 :]), index.shape))


def _outside(dtype: str, strict: bool) -> float:
    return math.nan if strict and dtype in FLOATS else 0


def reference(x: torch.Tensor, index: torch.Tensor, *, dim: int, skip: int = -1, strict: bool = False) -> torch.Tensor:
    none = torch.tensor(_outside(dtype_of(x), strict), dtype=x.dtype)
    shape = torch.broadcast_shapes((*x.shape[:dim], index.shape[dim], *x.shape[dim + 1 :]), index.shape)
    inside = ((index >= 0) & (index < x.shape[dim])).expand(shape)
    if not x.shape[dim]:
        return none.expand(shape).clone()
    found = x.expand(*shape[:dim], x.shape[dim], *shape[dim + 1 :]).gather(dim, (index.long().expand(shape) * inside))
    return torch.where(inside, found, none)


def grad(dy: Any, y: Any, x: Any, index: Any, *, dim: int, skip: int = -1, strict: bool = False) -> tuple[Any, None]:
    if not is_float(x):
        return None, None
    dx = put(dy, index, dim=dim, size=x.shape[dim], skip=skip)
    return sum_to(dx, tuple(x.shape)), None


def lower(node: Node, target: Target) -> Lowering:
    (y,), (x, index) = types_of(node)
    outside = _outside(x.dtype, bool(node.attrs.get("strict")))
    return one_launch(node, kernel.take(y, x, index, int(node.attrs["dim"]), outside=outside, target=target))  # type: ignore[call-overload]


take = OpDef("take", infer, reference, grad, lower, arity=2, follows=True, any_strides=True, samples=(
    (((7, 5), ("i64", (4, 1), 7)), {"dim": 0}),
    (((2, 3, 5, 7), ("i64", (2, 3, 5, 4), 7)), {"dim": 3}),
    (((2, 3, 5, 7), ("i64", (2, 3, 4, 7), 5)), {"dim": 2}),
    (((3, 9), ("i32", (3, 4), 12, -3)), {"dim": 1}),
    ((("i64", (3, 9), 100), ("i32", (3, 4), 12, -3)), {"dim": 1, "strict": True}),
    (((6, 1, 1), ("u8", (2, 3, 4), 6)), {"dim": 0}),
    ((("i64", (6,), 100), ("i64", (9,), 6)), {"dim": 0}),
    (((4, 3), ("i64", (0, 1), 4)), {"dim": 0}),
))  # fmt: skip
