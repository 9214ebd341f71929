"""pad2d: zeros around an image; ``padding`` = (top, bottom, left, right), negative numbers crop."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import pad as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import one_launch
from tritoncnn.ops.window import NHWC, Pair, check_image


def infer(x: TensorType, *, padding: Pair) -> TensorType:
    check_image("pad2d", x)
    if len(padding) != 4:
        raise ShapeError(f"pad2d: padding must be (top, bottom, left, right); got {list(padding)}")
    N, C, H, W = x.shape
    shape = (N, C, H + padding[0] + padding[1], W + padding[2] + padding[3])
    if min(shape[2:]) < 0 or min(H + min(padding[:2]), W + min(padding[2:])) < 0:
        raise ShapeError(f"pad2d: padding {list(padding)} crops more than there is of x {list(x.shape)}")
    return TensorType.dense(x.dtype, shape)


def reference(x: torch.Tensor, *, padding: Pair) -> torch.Tensor:
    top, bottom, left, right = padding
    return torch.nn.functional.pad(x, (left, right, top, bottom))


def grad(dy: Any, y: Any, x: Any, *, padding: Pair) -> tuple[Any]:
    return (pad2d(dy, padding=tuple(-size for size in padding)),)


def lower(node: Node, target: Target) -> Lowering:
    return one_launch(node, kernel.pad2d(node.result.type, node.operands[0].type, **node.attrs, target=target))  # type: ignore[arg-type]


SAMPLES = tuple(
    ((shape,), {"padding": padding}) for shape, padding in (
        ((2, 3, 5, 7), (1, 2, 0, 3)), ((1, 1, 1, 1), (0, 1, 0, 1)), ((0, 3, 4, 4), (1, 1, 1, 1)),
        ((2, 17, 6, 5), (-1, -2, 2, -1)),
    )
)  # fmt: skip
pad2d = OpDef("pad2d", infer, reference, grad, lower, orders={4: NHWC}, any_strides=True, samples=SAMPLES)
