"""prod: the product of x along one dim, which vanishes from the shape.

The gradient is the product of all others, made of those before and those after: right where x has zeros, too.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ir import TensorType
from tritoncnn.ops.define import OpDef, is_float
from tritoncnn.ops.expand import expand
from tritoncnn.ops.narrow import narrow
from tritoncnn.ops.resample import check_dim
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.scan import scan
from tritoncnn.ops.sum import sum_


def infer(x: TensorType, *, dim: int) -> TensorType:
    check_dim("prod", x, dim)
    return TensorType.dense(x.dtype if x.is_float else "i64", (*x.shape[:dim], *x.shape[dim + 1 :]))


def reference(x: torch.Tensor, *, dim: int) -> torch.Tensor:
    return torch.prod(x, dim)


def grad(dy: Any, y: Any, x: Any, *, dim: int) -> tuple[Any]:
    if not is_float(x):
        return (None,)
    kept = (*x.shape[:dim], 1, *x.shape[dim + 1 :])
    before = scan(x, dim=dim, kind="prod", exclusive=True)
    after = scan(x, dim=dim, kind="prod", reverse=True, exclusive=True)
    return (expand(reshape(dy, shape=kept), shape=tuple(x.shape)) * before * after,)


def compose(x: Any, *, dim: int) -> Any:
    n, shape = x.shape[dim], (*x.shape[:dim], *x.shape[dim + 1 :])
    if not n:
        return sum_(x, dims=(dim,)) + 1.0
    return reshape(narrow(scan(x, dim=dim, kind="prod"), dim=dim, start=n - 1, size=1), shape=shape)


prod = OpDef("prod", infer, reference, grad, compose=compose, samples=(
    (((3, 5),), {"dim": 1}),
    (((4, 2, 3),), {"dim": 0}),
    ((("i64", (2, 5), 5, -5),), {"dim": 1}),
    (((3, 0),), {"dim": 1}),
))  # fmt: skip
