"""copy: the same tensor, laid out in the memory ``order`` given (dims, outermost first)."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType, dense_strides
from tritoncnn.kernels import pointwise as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import one_launch


def infer(x: TensorType, *, order: tuple[int, ...]) -> TensorType:
    if sorted(order) != list(range(x.rank)):
        raise ShapeError(f"copy: order must be a permutation of 0..{x.rank - 1}; got {list(order)}")
    return TensorType.dense(x.dtype, x.shape, order)


def reference(x: torch.Tensor, *, order: tuple[int, ...]) -> torch.Tensor:
    return torch.empty_strided(x.shape, dense_strides(x.shape, order), dtype=x.dtype).copy_(x)


def grad(dy: Any, y: Any, x: Any, *, order: tuple[int, ...]) -> tuple[Any]:
    return (dy,)


def lower(node: Node, target: Target) -> Lowering:
    return one_launch(node, kernel.copy(node.result.type, node.operands[0].type, target=target))


SAMPLES = tuple(
    ((shape,), {"order": order}) for shape, order in (
        ((2, 3, 5, 7), (0, 2, 3, 1)), ((2, 3, 5, 7), (2, 3, 1, 0)), ((1, 1, 1, 1), (0, 2, 3, 1)), ((0, 3), (1, 0)),
        ((33, 17), (1, 0)), ((), ()),
    )
)  # fmt: skip
copy = OpDef("copy", infer, reference, grad, lower, copies=True, any_strides=True, samples=SAMPLES)
