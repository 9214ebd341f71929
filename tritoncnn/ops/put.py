"""put: elements of x added (or, without ``add``, written) into zeros at the places that an index tensor names along one dim.

y[.., index[.., j, ..], ..] += x[.., j, ..]; y has ``size`` elements along ``dim``. The index broadcasts to x; entries outside y,
or equal to ``skip``, are dropped. Entries go in order: the same bits on every run; the last of equal ones stays
(yet each gets the gradient, as in torch's max_unpool).
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import take as kernel
from tritoncnn.kernels.pointwise import copy
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef, broadcast_shape, is_float, op_named
from tritoncnn.ops.lowering import one_launch, types_of


def infer(x: TensorType, index: TensorType, *, dim: int, size: int, add: bool = True, skip: int = -1) -> TensorType:
    if index.dtype not in kernel.INDEX_TYPES:
        raise DTypeError(f"put: index must hold {' or '.join(kernel.INDEX_TYPES)}; got {index.dtype}")
    if add and x.dtype == "i1":
        raise DTypeError("put: x must hold numbers, which can be added; got i1")
    fits = index.rank == x.rank and broadcast_shape(x.shape, index.shape) == x.shape
    if not fits or not 0 <= dim < x.rank or index.shape[dim] != x.shape[dim] or size < 0:
        raise ShapeError(
            f"put: index must broadcast to x {list(x.shape)}, along dim it must be as long; "
            f"got {list(index.shape)}, dim {dim} and size {size}"
        )
    return TensorType.dense(x.dtype, (*x.shape[:dim], size, *x.shape[dim + 1 :]))


def reference(
    x: torch.Tensor, index: torch.Tensor, *, dim: int, size: int, add: bool = True, skip: int = -1
) -> torch.Tensor:
    """One entry after another, with one place more that catches those to be dropped."""
    index = index.long().expand(x.shape)
    index = torch.where((index < 0) | (index >= size) | (index == skip), size, index)
    y = x.new_zeros(*x.shape[:dim], size + 1, *x.shape[dim + 1 :])
    for j in range(x.shape[dim]):
        place, entry = index.narrow(dim, j, 1), x.narrow(dim, j, 1)
        y = y.scatter_add(dim, place, entry) if add else y.scatter(dim, place, entry)
    return y.narrow(dim, 0, size)


def grad(
    dy: Any, y: Any, x: Any, index: Any, *, dim: int, size: int, add: bool = True, skip: int = -1
) -> tuple[Any, None]:
    if not is_float(x):
        return None, None
    dx = op_named("take")(dy, index, dim=dim)
    if skip >= 0:
        dx = op_named("where")(op_named("ne")(index, skip), dx, 0.0)
    return dx, None


def lower(node: Node, target: Target) -> Lowering:
    """Sums of 16-bit numbers are made in f32, then rounded once."""
    (y,), (x, index) = types_of(node)
    attrs = node.attrs
    add, skip = bool(attrs.get("add", True)), int(attrs.get("skip", -1))
    wide = y if y.dtype == "f32" or not add or not y.is_float else y.with_dtype("f32").packed()
    join = "sum" if add else "last"
    launch = kernel.put(wide, x, index, attrs["dim"], join=join, skip=skip if skip >= 0 else None, target=target)
    if wide is y:
        return one_launch(node, launch)
    return Lowering(((launch, ("w0", "o0", "o1")), (copy(y, wide, target=target), ("r0", "w0"))), (wide,))


put = OpDef("put", infer, reference, grad, lower, arity=2, follows=True, samples=(
    (((4, 5), ("i64", (4, 1), 7)), {"dim": 0, "size": 7}),
    (((9, 5), ("i64", (9, 1), 3)), {"dim": 0, "size": 3, "skip": 1}),
    (((2, 3, 5, 4), ("i64", (2, 3, 5, 4), 7)), {"dim": 3, "size": 7}),
    (((2, 17, 5, 4), ("i64", (2, 17, 5, 4), 8, -2)), {"dim": 2, "size": 6}),
    (((2, 3, 1), ("i64", (2, 3, 1), 9)), {"dim": 2, "size": 9, "add": False}),
    (((3, 0), ("i64", (3, 0), 1)), {"dim": 1, "size": 4}),
    ((("i64", (3, 9), 9, -9), ("i64", (3, 9), 4)), {"dim": 1, "size": 4}),
    ((("i1", (3, 9)), ("i64", (1, 9), 12)), {"dim": 1, "size": 12, "add": False}),
))  # fmt: skip
