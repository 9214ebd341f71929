"""scan: running sums or products along a dim: cumsum, cumprod.

y[.., p, ..] = the sum (``kind`` "prod": the product) of x[.., q, ..] over q <= p; over q >= p with ``reverse``; without q = p
with ``exclusive``. Of whole numbers it is i64.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import scan as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef, is_float
from tritoncnn.ops.lowering import one_launch, types_of
from tritoncnn.ops.resample import check_dim


def infer(x: TensorType, *, dim: int, kind: str = "sum", reverse: bool = False, exclusive: bool = False) -> TensorType:
    check_dim("scan", x, dim)
    if kind not in kernel.KINDS:
        raise ShapeError(f"scan: kind must be one of {', '.join(kernel.KINDS)}; got {kind!r}")
    return TensorType.dense(x.dtype if x.is_float else "i64", x.shape)


def reference(
    x: torch.Tensor, *, dim: int, kind: str = "sum", reverse: bool = False, exclusive: bool = False
) -> torch.Tensor:
    x = x.flip(dim) if reverse else x
    y = (torch.cumsum if kind == "sum" else torch.cumprod)(x, dim)
    if exclusive and x.shape[dim]:
        first = torch.full_like(y.narrow(dim, 0, 1), int(kind == "prod"))
        y = torch.cat((first, y.narrow(dim, 0, x.shape[dim] - 1)), dim)
    return y.flip(dim) if reverse else y


def grad(
    dy: Any, y: Any, x: Any, *, dim: int, kind: str = "sum", reverse: bool = False, exclusive: bool = False
) -> tuple[Any]:
    if not is_float(x):
        return (None,)
    if kind == "prod":
        raise UnsupportedError("cumprod has no gradient here; take it out of the loss or detach it")
    return (scan(dy, dim=dim, reverse=not reverse, exclusive=exclusive),)


def lower(node: Node, target: Target) -> Lowering:
    (y,), (x,) = types_of(node)
    return one_launch(node, kernel.scan(y, x, **node.attrs, target=target))


scan = OpDef("scan", infer, reference, grad, lower, follows=True, samples=(
    (((3, 7),), {"dim": 1}),
    (((2, 9, 3, 2),), {"dim": 1, "reverse": True}),
    (((33, 70),), {"dim": 0, "exclusive": True}),
    (((5,),), {"dim": 0, "reverse": True, "exclusive": True}),
    ((("i64", (2, 33), 5, -5),), {"dim": 1}),
    ((("i1", (2, 9)),), {"dim": 0}),
    ((("i64", (2, 5), 5, -5),), {"dim": 1, "kind": "prod"}),
    (((0, 4),), {"dim": 1}),
    (((4, 0),), {"dim": 1}),
))  # fmt: skip
