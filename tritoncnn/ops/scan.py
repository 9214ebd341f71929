"""scan: running sums along a dim, or products, maxima, logarithms of sums of exponentials: cumsum, cumprod, cummax, logcumsumexp.

y[.., p, ..] = the sum (or what ``kind`` says: "prod", "max", "logsumexp") of x[.., q, ..] over q <= p; over q >= p with
``reverse``; without q = p with ``exclusive``. Of whole numbers it is i64.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.errors import DTypeError, ShapeError, UnsupportedError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import scan as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.bit_and import bit_and
from tritoncnn.ops.define import Lowering, OpDef, is_float
from tritoncnn.ops.eq import eq
from tritoncnn.ops.exp import exp
from tritoncnn.ops.log import log
from tritoncnn.ops.lowering import one_launch, types_of
from tritoncnn.ops.resample import check_dim
from tritoncnn.ops.where import where


def infer(x: TensorType, *, dim: int, kind: str = "sum", reverse: bool = False, exclusive: bool = False) -> TensorType:
    check_dim("scan", x, dim)
    if kind not in kernel.KINDS:
        raise ShapeError(f"scan: kind must be one of {', '.join(kernel.KINDS)}; got {kind!r}")
    if kind == "logsumexp" and not x.is_float:
        raise DTypeError(f"scan: x must hold floats for logsumexp; got {x.dtype}")
    return TensorType.dense(x.dtype if x.is_float else "i64", x.shape)


def reference(
    x: torch.Tensor, *, dim: int, kind: str = "sum", reverse: bool = False, exclusive: bool = False
) -> torch.Tensor:
    x = x.flip(dim) if reverse else x
    if kind == "max":
        y = x.to(x.dtype if is_float(x) else torch.int64).cummax(dim).values
    else:
        y = {"sum": torch.cumsum, "prod": torch.cumprod, "logsumexp": torch.logcumsumexp}[kind](x, dim)
    if exclusive and x.shape[dim]:
        least = -math.inf if is_float(x) else -(2**63)
        first = torch.full_like(y.narrow(dim, 0, 1), {"sum": 0, "prod": 1}.get(kind, least))
        y = torch.cat((first, y.narrow(dim, 0, x.shape[dim] - 1)), dim)
    return y.flip(dim) if reverse else y


def grad(
    dy: Any, y: Any, x: Any, *, dim: int, kind: str = "sum", reverse: bool = False, exclusive: bool = False
) -> tuple[Any]:
    if not is_float(x):
        return (None,)
    if kind == "max":
        raise UnsupportedError("running maxima have no gradient of their own: it is that of what they pick")
    if kind == "logsumexp":
        return (_logsumexp_grad(dy, y, x, dim=dim, reverse=not reverse),)
    if kind == "prod" and not exclusive:
        return (_prod_grad(dy, y, x, dim=dim, reverse=reverse),)
    if kind == "prod":
        raise UnsupportedError("running products without their last factor have no gradient")
    return (scan(dy, dim=dim, reverse=not reverse, exclusive=exclusive),)


def _prod_grad(dy: Any, y: Any, x: Any, *, dim: int, reverse: bool) -> Any:
    """Before the first zero of a line the sum of dy y over what comes, divided by x; at it, the same with 1 in its place."""
    zeros = scan(where(eq(x, 0.0), x * 0.0 + 1.0, 0.0), dim=dim, reverse=reverse)
    first = bit_and(eq(zeros, 1.0), eq(x, 0.0))
    others = scan(where(first, 1.0, x), dim=dim, kind="prod", reverse=reverse)
    at_zero = scan(dy * others, dim=dim, reverse=not reverse)
    before = scan(dy * y, dim=dim, reverse=not reverse) / where(eq(x, 0.0), 1.0, x)
    return where(first, at_zero, where(zeros > 0.0, 0.0, before))


def _logsumexp_grad(dy: Any, y: Any, x: Any, *, dim: int, reverse: bool) -> Any:
    """exp(x) times the sums of dy exp(-y) that come, made of logarithms: one for each sign of dy."""
    parts = []
    for size in (dy, -dy):
        logs = where(size > 0.0, log(where(size > 0.0, size, 1.0)), -math.inf) - y
        total = scan(where(size > 0.0, logs, -math.inf), dim=dim, kind="logsumexp", reverse=reverse)
        parts.append(exp(total + x))
    return parts[0] - parts[1]


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
    (((3, 7),), {"dim": 1, "kind": "prod"}),
    (((4, 3, 2),), {"dim": 0, "kind": "prod", "reverse": True}),
    ((("i64", (3, 9), 5, -5),), {"dim": 1, "kind": "max"}),
    (((3, 9),), {"dim": 1, "kind": "logsumexp"}),
    (((5, 3),), {"dim": 0, "kind": "logsumexp", "reverse": True}),
    (((0, 4),), {"dim": 1}),
    (((4, 0),), {"dim": 1}),
))  # fmt: skip
