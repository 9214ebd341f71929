"""max_taps: along one dim the largest element under each window of a rule of taps (``adaptive``, ``windows``), and its index.

y[.., p, ..] = max_t x[.., i[t,p], ..]; a NaN wins, the last one, or with ``first`` the first one; then the first of equals; at =
that i as i64. Without a tap: -inf, at -1; whole numbers need one.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import take as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef, is_float
from tritoncnn.ops.lowering import types_of
from tritoncnn.ops.put import put
from tritoncnn.ops.resample import check_dim
from tritoncnn.ops.taps import Numbers, taps


def infer(
    x: TensorType, *, dim: int, size: int, rule: str, numbers: Numbers = (), first: bool = False
) -> tuple[TensorType, TensorType]:
    check_dim("max_taps", x, dim)
    if x.dtype in ("i1", "f64"):
        raise DTypeError(f"max_taps: x must hold numbers that a kernel compares; got {x.dtype}")
    if size < 0:
        raise ShapeError(f"max_taps: size must not be negative; got {size}")
    table = taps(rule, x.shape[dim], size, tuple(numbers))
    if not x.is_float and any(all(i < 0 for i in table.index.numbers[p::size]) for p in range(size)):
        raise ShapeError(
            f"max_taps: each window over whole numbers must hold one; got {rule} of {list(x.shape)} to {size}"
        )
    shape = (*x.shape[:dim], size, *x.shape[dim + 1 :])
    return TensorType.dense(x.dtype, shape), TensorType.dense("i64", shape)


def reference(
    x: torch.Tensor, *, dim: int, size: int, rule: str, numbers: Numbers = (), first: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    table = taps(rule, x.shape[dim], size, tuple(numbers))
    empty = float("-inf") if x.is_floating_point() else 0
    y = x.new_full((*x.shape[:dim], size, *x.shape[dim + 1 :]), empty)
    at = torch.full(y.shape, -1)
    along = (size, *(1,) * (x.dim() - dim - 1))
    for line in torch.tensor(table.index.numbers).reshape(table.count, size) if y.numel() and x.numel() else ():
        index = line.long().reshape(along)
        value = x.index_select(dim, line.clamp(min=0).int())
        wins = (index >= 0) & ((at < 0) | (value > y) | (value.isnan() & ~y.isnan() if first else value.isnan()))
        y, at = torch.where(wins, value, y), torch.where(wins, index, at)
    return y, at


def grad(
    dy: Any, y: Any, x: Any, *, dim: int, size: int, rule: str, numbers: Numbers = (), first: bool = False
) -> tuple[Any]:
    if not is_float(x):
        return (None,)
    return (put(dy, y[1], dim=dim, size=x.shape[dim]),)


def lower(node: Node, target: Target) -> Lowering:
    (y, at), (x,) = types_of(node)
    attrs = node.attrs
    table = taps(attrs["rule"], x.shape[attrs["dim"]], attrs["size"], tuple(attrs.get("numbers", ())))
    launch = kernel.take(
        y, x, table.index.type, attrs["dim"], at=at, taps=True, first=attrs.get("first", False), target=target
    )
    return Lowering(((launch, ("r0", "r1", "o0", "t0")),), tables=(table.index,))


def _sample(x: tuple[int, ...], dim: int, size: int, rule: str, *numbers: float) -> Any:
    return ((x,), {"dim": dim, "size": size, "rule": rule, "numbers": numbers})


max_taps = OpDef("max_taps", infer, reference, grad, lower, follows=True, any_strides=True, samples=(
    _sample((2, 3, 5, 7), 3, 3, "adaptive"),
    _sample((2, 17, 5, 7), 2, 4, "adaptive"),
    _sample((2, 3, 5, 2, 3), 2, 3, "windows", 3, 2, 1, 1),
    _sample((7, 2), 0, 3, "windows", 2, 2, 0, 3),
    _sample((0, 7), 1, 3, "adaptive"),
    (((3, 9),), {"dim": 1, "size": 1, "rule": "adaptive", "first": True}),
    ((("i64", (3, 9), 5, -5),), {"dim": 1, "size": 1, "rule": "adaptive", "first": True}),
    ((("u8", (9, 3), 255),), {"dim": 0, "size": 2, "rule": "adaptive"}),
))  # fmt: skip
