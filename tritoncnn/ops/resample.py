"""resample: a line of another length along one dim, each element a sum of weighted taps: resizing, padding, averaging, flips.

y[.., p, ..] = sum_t w[t,p] * x[.., i[t,p], ..] with the table of ``rule`` (``taps.py``); absent taps add nothing, whatever x
holds. ``adjoint`` transposes the table: the gradient, deterministic as all sums run in the table's order.
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
from tritoncnn.ops.taps import Numbers, Taps, taps


def check_dim(op: str, x: TensorType, dim: int) -> None:
    if not 0 <= dim < x.rank:
        raise ShapeError(f"{op}: dim must be one of the {x.rank} dims of x {list(x.shape)}; got {dim}")


def _taps(n: int, size: int, rule: str, numbers: Numbers, adjoint: bool) -> Taps:
    return taps(rule, size if adjoint else n, n if adjoint else size, tuple(numbers), adjoint)


def infer(x: TensorType, *, dim: int, size: int, rule: str, numbers: Numbers = (), adjoint: bool = False) -> TensorType:
    check_dim("resample", x, dim)
    if size < 0:
        raise ShapeError(f"resample: size must not be negative; got {size}")
    table = _taps(x.shape[dim], size, rule, numbers, adjoint)
    if not x.is_float and (table.count > 1 or table.weight is not None):
        raise DTypeError(f"resample: x must hold floats for the weighted sums of {rule!r}; got {x.dtype}")
    return TensorType.dense(x.dtype, (*x.shape[:dim], size, *x.shape[dim + 1 :]))


def reference(
    x: torch.Tensor, *, dim: int, size: int, rule: str, numbers: Numbers = (), adjoint: bool = False
) -> torch.Tensor:
    table = _taps(x.shape[dim], size, rule, numbers, adjoint)
    total = x.new_zeros(*x.shape[:dim], size, *x.shape[dim + 1 :])
    if not x.numel() or not total.numel():
        return total
    ones = (1.0,) * len(table.index.numbers)
    weights = torch.tensor(table.weight.numbers if table.weight else ones, dtype=torch.float64).reshape(
        table.count, size
    )
    along = (size, *(1,) * (x.dim() - dim - 1))
    for index, weight in zip(torch.tensor(table.index.numbers).reshape(table.count, size), weights, strict=True):
        value = x.index_select(dim, index.clamp(min=0).int())
        if table.weight is not None:
            value = value * weight.to(x.dtype).reshape(along)
        total = total + torch.where((index >= 0).reshape(along), value, torch.zeros((), dtype=x.dtype))
    return total


def grad(dy: Any, y: Any, x: Any, *, dim: int, size: int, rule: str, numbers: Numbers = (),
         adjoint: bool = False) -> tuple[Any]:  # fmt: skip
    if not is_float(x):
        return (None,)
    return (resample(dy, dim=dim, size=x.shape[dim], rule=rule, numbers=numbers, adjoint=not adjoint),)


def lower(node: Node, target: Target) -> Lowering:
    (y,), (x,) = types_of(node)
    attrs = node.attrs
    table = _taps(
        x.shape[attrs["dim"]], attrs["size"], attrs["rule"], attrs.get("numbers", ()), attrs.get("adjoint", False)
    )
    weight = table.weight.type if table.weight else None
    launch = kernel.take(y, x, table.index.type, attrs["dim"], weight=weight, taps=True, target=target)
    if table.weight is None:
        return Lowering(((launch, ("r0", "o0", "t0")),), tables=(table.index,))
    return Lowering(((launch, ("r0", "o0", "t0", "t1")),), tables=(table.index, table.weight))


def _sample(x: tuple[int, ...], dim: int, size: int, rule: str, *numbers: float, adjoint: bool = False) -> Any:
    return ((x,), {"dim": dim, "size": size, "rule": rule, "numbers": numbers, "adjoint": adjoint})


SAMPLES = (
    _sample((2, 3, 5, 7), 2, 11, "linear", 0.0, 0),
    _sample((2, 17, 5, 7), 3, 3, "linear", 0.0, 1),
    _sample((2, 3, 5, 7), 3, 17, "cubic", 2.5, 0),
    _sample((2, 3, 5, 7), 3, 3, "adaptive"),
    _sample((2, 3, 5, 7), 2, 2, "average", 3, 2, 1, 0),
    _sample((2, 3, 5, 7), 2, 10, "nearest", 0.0),
    _sample((2, 3, 5, 7), 3, 5, "nearest-exact", 0.0),
    _sample((2, 3, 5, 7), 3, 12, "reflect", 3),
    _sample((2, 3, 5, 7), 0, 6, "circular", 2),
    _sample((5, 2), 0, 9, "replicate", 3),
    _sample((2, 3, 4, 5, 6), 2, 7, "zero", 2),
    _sample((9,), 0, 3, "zero", -1, 3),
    _sample((3, 9), 1, 9, "flip", 0),
    _sample((0, 3, 4), 2, 7, "reflect", 2),
    _sample((2, 0), 1, 3, "zero", 1),
    _sample((2, 3, 11, 7), 2, 5, "linear", 0.0, 0, adjoint=True),
    _sample((2, 5), 1, 3, "zero", 1, adjoint=True),
    ((("i64", (3, 4), 9),), {"dim": 1, "size": 6, "rule": "reflect", "numbers": (1,)}),
    ((("i1", (3, 4)),), {"dim": 0, "size": 5, "rule": "zero", "numbers": (1,)}),
)
resample = OpDef("resample", infer, reference, grad, lower, follows=True, any_strides=True, samples=SAMPLES)
