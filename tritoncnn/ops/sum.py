"""sum: the sum over ``dims``, which vanish from the shape."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import reduce as kernel
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.expand import expand
from tritoncnn.ops.lowering import in_parts
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.window import Pair, check_float


def infer(x: TensorType, *, dims: Pair) -> TensorType:
    check_float("sum", x, "x")
    if not dims or list(dims) != sorted(set(dims)) or dims[0] < 0 or dims[-1] >= x.rank:
        raise ShapeError(f"sum: dims must be dims of x {list(x.shape)}, ascending, at least one; got {list(dims)}")
    return TensorType.dense(x.dtype, tuple(size for dim, size in enumerate(x.shape) if dim not in dims))


def reference(x: torch.Tensor, *, dims: Pair) -> torch.Tensor:
    return x.sum(dims)


def grad(dy: Any, y: Any, x: Any, *, dims: Pair) -> tuple[Any]:
    kept = tuple(1 if dim in dims else size for dim, size in enumerate(x.shape))
    return (expand(reshape(dy, shape=kept), shape=tuple(x.shape)),)


def lower(node: Node) -> Lowering:
    launches, workspace = kernel.reduce(node.result.type, node.operands[0].type, node.attrs["dims"])  # type: ignore[arg-type]
    return in_parts(node, launches, workspace, 1)


SAMPLES = tuple(
    ((shape,), {"dims": dims}) for shape, dims in (
        ((2, 3, 5, 7), (0, 2, 3)), ((4, 5), (0,)), ((4, 5), (1,)), ((1,), (0,)), ((0, 3), (0,)), ((33, 65), (0, 1)),
        ((2, 17, 7, 7), (2, 3)), ((2, 3, 4), (1,)), ((3, 300), (1,)), ((300, 3), (0,)),
    )
)  # fmt: skip
sum_ = OpDef("sum", infer, reference, grad, lower, samples=SAMPLES)
