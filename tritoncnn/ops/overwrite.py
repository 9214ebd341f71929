"""overwrite: base with the elements of x written at the places that an index tensor names along one dim.

y = base, then y[.., index[.., j, ..], ..] = x[.., j, ..]. The index broadcasts to x; entries outside base are dropped. Entries go
in order: the last of equal ones stays (yet each gets the gradient, as in torch's scatter).
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
from tritoncnn.ops.put import infer as put_type
from tritoncnn.ops.take import take


def infer(base: TensorType, x: TensorType, index: TensorType, *, dim: int) -> TensorType:
    size = base.shape[dim] if 0 <= dim < base.rank else -1
    y = put_type(x, index, dim=dim, size=size, add=False)
    if base.shape != y.shape:
        raise ShapeError(f"overwrite: base must be {list(y.shape)} for x {list(x.shape)}; got {list(base.shape)}")
    if base.dtype != x.dtype:
        raise DTypeError(f"overwrite: base and x must have one dtype; got {base.dtype} and {x.dtype}")
    return y


def reference(base: torch.Tensor, x: torch.Tensor, index: torch.Tensor, *, dim: int) -> torch.Tensor:
    """One entry after another, with one place more that catches those to be dropped."""
    index, size = index.long().expand(x.shape), base.shape[dim]
    index = torch.where((index < 0) | (index >= size), size, index)
    y = torch.cat((base, base.new_zeros(*base.shape[:dim], 1, *base.shape[dim + 1 :])), dim)
    for j in range(x.shape[dim]):
        y = y.scatter(dim, index.narrow(dim, j, 1), x.narrow(dim, j, 1))
    return y.narrow(dim, 0, size)


def grad(dy: Any, y: Any, base: Any, x: Any, index: Any, *, dim: int) -> tuple[Any, Any, None]:
    if not is_float(x):
        return None, None, None
    return overwrite(dy, x * 0.0, index, dim=dim), take(dy, index, dim=dim), None


def lower(node: Node, target: Target) -> Lowering:
    (y,), (base, x, index) = types_of(node)
    launch = kernel.put(y, x, index, int(node.attrs["dim"]), base=base, join="last", target=target)  # type: ignore[call-overload]
    return Lowering(((launch, ("r0", "o1", "o2", "o0")),))


SAMPLES = (  # of floats one entry for each place: where several meet, autograd of the reference sees the last one only
    (((7, 5), (1, 5), ("i64", (1, 1), 7)), {"dim": 0}),
    (((2, 3, 4), (2, 3, 1), ("i64", (2, 3, 1), 4)), {"dim": 2}),
    (((2, 17, 6, 4), (2, 17, 1, 4), ("i64", (2, 17, 1, 4), 8, -2)), {"dim": 2}),
    ((("i64", (7, 5), 9, -9), ("i64", (4, 5), 9, -9), ("i64", (4, 1), 7)), {"dim": 0}),
    ((("i64", (3, 4), 9, -9), ("i64", (3, 9), 9, -9), ("i64", (1, 9), 4)), {"dim": 1}),
    ((("u8", (300,), 200), ("u8", (1,), 200), ("i64", (1,), 300)), {"dim": 0}),
    ((("i1", (3, 4)), ("i1", (3, 2)), ("i64", (1, 2), 4)), {"dim": 1}),
    (((3, 4), (3, 0), ("i64", (3, 0), 1)), {"dim": 1}),
)
overwrite = OpDef("overwrite", infer, reference, grad, lower, arity=3, within="write", samples=SAMPLES)
