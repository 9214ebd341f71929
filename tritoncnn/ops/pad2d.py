"""pad2d: zeros around an image; ``padding`` = (top, bottom, left, right), negative numbers crop.

An image that another op computes is written straight into its place (see the pass ``write_into_parts``): only the border is
then made here.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import pad as kernel
from tritoncnn.kernels.pointwise import copy
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


def parts(y: TensorType, operands: tuple[TensorType, ...], padding: Pair) -> list[tuple[TensorType, int] | None]:
    """(type, first element in y) of the image inside of y; None where some of it is cropped."""
    if min(padding) < 0:
        return [None]
    return [(TensorType(y.dtype, operands[0].shape, y.strides), padding[0] * y.strides[2] + padding[2] * y.strides[3])]


def lower(node: Node, target: Target) -> Lowering:
    y, x, padding = node.result.type, node.operands[0].type, node.attrs["padding"]
    (place,) = parts(y, (x,), padding)  # type: ignore[arg-type]
    if place is None or place[0].strides != x.strides:
        return one_launch(node, kernel.pad2d(y, x, padding=padding, target=target))  # type: ignore[arg-type]
    inside, first = place
    border = kernel.border2d(y, padding=padding, target=target)  # type: ignore[arg-type]
    return Lowering(((border, ("r0",)), (copy(inside, x, target=target), (f"r0+{first}", "o0"))))


SAMPLES = tuple(
    ((shape,), {"padding": padding}) for shape, padding in (
        ((2, 3, 5, 7), (1, 2, 0, 3)), ((1, 1, 1, 1), (0, 1, 0, 1)), ((0, 3, 4, 4), (1, 1, 1, 1)),
        ((2, 17, 6, 5), (-1, -2, 2, -1)),
    )
)  # fmt: skip
pad2d = OpDef("pad2d", infer, reference, grad, lower, orders={4: NHWC}, parts=parts, any_strides=True, samples=SAMPLES)
