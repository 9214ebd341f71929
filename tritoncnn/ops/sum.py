"""sum: the sum over ``dims``, which vanish from the shape, of x, or of the fused expression ``expr`` over all operands."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import GraphError, ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import pointwise as pointwise_kernel
from tritoncnn.kernels import reduce as kernel
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.expand import expand
from tritoncnn.ops.lowering import in_parts, refs_of
from tritoncnn.ops.pointwise import pointwise_op
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.slot import make_slot
from tritoncnn.ops.window import Pair, check_float


def infer(*operands: TensorType, dims: Pair, expr: str = "") -> TensorType:
    if not expr and len(operands) != 1:
        raise GraphError(f"sum takes 1 operand, or an expression over several; got {len(operands)}")
    x = pointwise_op.infer(*operands, expr=expr) if expr else operands[0]
    assert isinstance(x, TensorType)
    check_float("sum", x, "x")
    if not dims or list(dims) != sorted(set(dims)) or dims[0] < 0 or dims[-1] >= x.rank:
        raise ShapeError(f"sum: dims must be dims of x {list(x.shape)}, ascending, at least one; got {list(dims)}")
    return TensorType.dense(x.dtype, tuple(size for dim, size in enumerate(x.shape) if dim not in dims))


def reference(*operands: torch.Tensor, dims: Pair, expr: str = "") -> torch.Tensor:
    x = pointwise_op.reference(*operands, expr=expr) if expr else operands[0]
    return x.sum(dims)


def grad(dy: Any, y: Any, x: Any, *, dims: Pair) -> tuple[Any]:
    kept = tuple(1 if dim in dims else size for dim, size in enumerate(x.shape))
    return (expand(reshape(dy, shape=kept), shape=tuple(x.shape)),)


def lower(node: Node) -> Lowering:
    """An expression whose dims do not merge into two kept and two reduced ones is written to a workspace first."""
    y, dims = node.result.type, node.attrs["dims"]
    types = tuple(v.type for v in node.operands)
    if "expr" not in node.attrs:
        launches, workspace = kernel.reduce(y, types[0], dims)
        return in_parts(node, launches, workspace, 1)
    expr = str(node.attrs["expr"])
    whole = pointwise_op.infer(*types, expr=expr)
    assert isinstance(whole, TensorType)
    walk = kernel.walk_dims(y, types, whole.shape, dims) if whole.numel else None
    operands = refs_of(node)[1:]
    if walk is not None:
        launches, workspace = kernel.reduce(y, None, dims, slot=make_slot(expr, walk.out, walk.operands), walk=walk)
        if workspace is None:
            return Lowering(((launches[0], ("r0", *operands)),))
        return Lowering(((launches[0], ("w0", *operands)), (launches[1], ("r0", "w0"))), (workspace,))
    out, flat = pointwise_kernel.flatten_when_dense(whole, types)
    first = pointwise_kernel.pointwise(out, flat, make_slot(expr, out, flat))
    launches, workspace = kernel.reduce(y, whole, dims)
    if workspace is None:
        return Lowering(((first, ("w0", *operands)), (launches[0], ("r0", "w0"))), (whole,))
    return Lowering(
        ((first, ("w0", *operands)), (launches[0], ("w1", "w0")), (launches[1], ("r0", "w1"))), (whole, workspace)
    )


SAMPLES: tuple[Any, ...] = tuple(
    ((shape,), {"dims": dims}) for shape, dims in (
        ((2, 3, 5, 7), (0, 2, 3)), ((4, 5), (0,)), ((4, 5), (1,)), ((1,), (0,)), ((0, 3), (0,)), ((33, 65), (0, 1)),
        ((2, 17, 7, 7), (2, 3)), ((2, 3, 4), (1,)), ((3, 300), (1,)), ((300, 3), (0,)),
    )
)  # fmt: skip
SAMPLES += tuple(
    ((a, b), {"dims": dims, "expr": "mul($0, add($1, 2.0))"}) for a, b, dims in (
        ((2, 3, 5, 7), (2, 3, 5, 7), (0, 2, 3)), ((2, 3, 5, 7), (2, 1, 5, 7), (1, 3)), ((2, 3, 5, 7), (1, 3, 1, 7), (0, 2)),
        ((4, 300), (300,), (1,)), ((300, 4), (4,), (0,)), ((33, 65), (1, 1), (0, 1)), ((0, 3), (3,), (0,)), ((5,), (), (0,)),
        ((40, 1000), (40, 1), (0, 1)),
    )
)  # fmt: skip
sum_ = OpDef("sum", infer, reference, grad, lower, samples=SAMPLES)
