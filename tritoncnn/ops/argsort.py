"""argsort: the places of x's elements along a dim in ascending (or descending) order, the first ``size`` of them, as i64.

Equal elements keep their order, 0 and -0 are equal, NaN is above all numbers, as in torch. Values in order are what ``take``
finds at these places, and their gradient is that of ``take``.
"""

from __future__ import annotations

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import argsort as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import one_launch, types_of
from tritoncnn.ops.resample import check_dim


def infer(x: TensorType, *, dim: int, size: int, descending: bool = False) -> TensorType:
    check_dim("argsort", x, dim)
    if not 0 <= size <= x.shape[dim]:
        raise ShapeError(f"argsort: size must lie in 0..{x.shape[dim]} for dim {dim} of x {list(x.shape)}; got {size}")
    return TensorType.dense("i64", (*x.shape[:dim], size, *x.shape[dim + 1 :]))


def reference(x: torch.Tensor, *, dim: int, size: int, descending: bool = False) -> torch.Tensor:
    return torch.sort(x, dim=dim, descending=descending, stable=True).indices.narrow(dim, 0, size)


def lower(node: Node, target: Target) -> Lowering:
    (y,), (x,) = types_of(node)
    return one_launch(
        node, kernel.argsort(y, x, node.attrs["dim"], descending=node.attrs.get("descending", False), target=target)
    )


argsort = OpDef("argsort", infer, reference, None, lower, samples=(
    (((3, 7),), {"dim": 1, "size": 7}),
    (((3, 300),), {"dim": 1, "size": 300, "descending": True}),
    (((40, 5),), {"dim": 1, "size": 2, "descending": True}),
    (((2, 9, 3, 2),), {"dim": 1, "size": 4}),
    ((("i64", (2, 33), 5, -5),), {"dim": 1, "size": 33, "descending": True}),
    ((("u8", (17, 3), 4),), {"dim": 0, "size": 17}),
    ((("i1", (2, 9)),), {"dim": 1, "size": 9}),
    (((0, 4),), {"dim": 1, "size": 3}),
    (((4, 0),), {"dim": 1, "size": 0}),
))  # fmt: skip
