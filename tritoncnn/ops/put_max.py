"""put_max: the largest of the numbers of base and of the elements of x that come to the same place along one dim.

y = base, then y[.., index[.., j, ..], ..] = max(that, x[.., j, ..]). Entries outside base are dropped. Equal numbers share the
gradient, as torch's scatter_reduce has it.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import take as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef, is_float
from tritoncnn.ops.eq import eq
from tritoncnn.ops.lowering import one_launch, types_of
from tritoncnn.ops.put import infer as put_type
from tritoncnn.ops.put import put
from tritoncnn.ops.take import take
from tritoncnn.ops.where import where


def infer(x: TensorType, index: TensorType, base: TensorType, *, dim: int) -> TensorType:
    size = base.shape[dim] if 0 <= dim < base.rank else -1
    y = put_type(x, index, dim=dim, size=size, add=False)
    if base.shape != y.shape:
        raise ShapeError(f"put: base must be {list(y.shape)} for x {list(x.shape)}; got {list(base.shape)}")
    if base.dtype != x.dtype or x.dtype == "i1":
        raise DTypeError(f"put: base and x must hold numbers of one dtype; got {base.dtype} and {x.dtype}")
    return y


def reference(x: torch.Tensor, index: torch.Tensor, base: torch.Tensor, *, dim: int) -> torch.Tensor:
    """With one place more that catches the entries to be dropped."""
    index, size = index.long().expand(x.shape), base.shape[dim]
    index = torch.where((index < 0) | (index >= size), size, index)
    base = base.to(torch.promote_types(base.dtype, x.dtype))
    spare = base.new_zeros(*base.shape[:dim], 1, *base.shape[dim + 1 :])
    return torch.cat((base, spare), dim).scatter_reduce(dim, index, x, "amax").narrow(dim, 0, size)


def grad(dy: Any, y: Any, x: Any, index: Any, base: Any, *, dim: int) -> tuple[Any, None, Any]:
    if not is_float(x):
        return None, None, None
    won, stayed = eq(x, take(y, index, dim=dim)), eq(base, y)
    count = put(where(won, x * 0.0 + 1.0, 0.0), index, dim=dim, size=base.shape[dim]) + where(
        stayed, dy * 0.0 + 1.0, 0.0
    )
    share = dy / count
    return where(won, take(share, index, dim=dim), 0.0), None, where(stayed, share, 0.0)


def lower(node: Node, target: Target) -> Lowering:
    (y,), (x, index, base) = types_of(node)
    return one_launch(node, kernel.put(y, x, index, node.attrs["dim"], base=base, join="max", target=target))


SAMPLES = (
    (((4, 5), ("i64", (4, 1), 7), (7, 5)), {"dim": 0}),
    (((2, 3, 9), ("i64", (2, 3, 9), 4), (2, 3, 4)), {"dim": 2}),
    (((2, 17, 5, 4), ("i64", (2, 17, 5, 4), 8, -2), (2, 17, 6, 4)), {"dim": 2}),
    ((("i64", (3, 9), 9, -9), ("i64", (3, 9), 4), ("i64", (3, 4), 9, -9)), {"dim": 1}),
    (((3, 0), ("i64", (3, 0), 1), (3, 4)), {"dim": 1}),
)  # fmt: skip
put_max = OpDef("put_max", infer, reference, grad, lower, arity=3, follows=True, samples=SAMPLES)
