"""put_prod: the product of the numbers of base and of the elements of x that come to the same place along one dim.

y = base, then y[.., index[.., j, ..], ..] *= x[.., j, ..], one after another. Entries outside base are dropped.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ir import Node
from tritoncnn.kernels import take as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.bit_and import bit_and
from tritoncnn.ops.define import Lowering, OpDef, is_float, op_named
from tritoncnn.ops.eq import eq
from tritoncnn.ops.lowering import one_launch, types_of
from tritoncnn.ops.put import put
from tritoncnn.ops.put_max import SAMPLES, infer
from tritoncnn.ops.take import take
from tritoncnn.ops.where import where


def reference(x: torch.Tensor, index: torch.Tensor, base: torch.Tensor, *, dim: int) -> torch.Tensor:
    """With one place more that catches the entries to be dropped."""
    index, size = index.long().expand(x.shape), base.shape[dim]
    index = torch.where((index < 0) | (index >= size), size, index)
    spare = base.new_ones(*base.shape[:dim], 1, *base.shape[dim + 1 :])
    return torch.cat((base, spare), dim).scatter_reduce(dim, index, x.to(base.dtype), "prod").narrow(dim, 0, size)


def grad(dy: Any, y: Any, x: Any, index: Any, base: Any, *, dim: int) -> tuple[Any, None, Any]:
    """The product over a factor; over one that is 0, the product of all others. As torch, several zeros of x at one place
    leave none for any of them, though beside a zero of base one of x gets none either."""
    if not is_float(x):
        return None, None, None
    nothing = eq(x, 0.0)
    zeros = put(where(nothing, x * 0.0 + 1.0, 0.0), index, dim=dim, size=base.shape[dim])
    alone = bit_and(nothing, eq(take(zeros, index, dim=dim), 1.0))
    others = op_named("put_prod")(where(alone, 1.0, x), index, base, dim=dim)
    whole = take(dy * y, index, dim=dim) / where(nothing, 1.0, x)
    dx = where(alone, take(dy * others, index, dim=dim), whole)
    held = where(eq(base, 0.0), 1.0, base)
    return dx, None, dy * op_named("put_prod")(x, index, held, dim=dim) / held


def lower(node: Node, target: Target) -> Lowering:
    (y,), (x, index, base) = types_of(node)
    return one_launch(node, kernel.put(y, x, index, node.attrs["dim"], base=base, join="product", target=target))


put_prod = OpDef("put_prod", infer, reference, grad, lower, arity=3, follows=True, samples=SAMPLES)
