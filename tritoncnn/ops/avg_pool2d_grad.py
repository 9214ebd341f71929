"""avg_pool2d_grad: the gradient of avg_pool2d for its input of ``input_shape``: each dy / count goes to its window."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import pool as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef, op_named
from tritoncnn.ops.lowering import epilogue_of, one_launch, types_of
from tritoncnn.ops.window import NHWC, Pair, check_image, check_window, pool_size


def infer(dy: TensorType, *, input_shape: Pair, window: Pair, stride: Pair, padding: Pair, ceil_mode: bool = False,
          count_include_pad: bool = True) -> TensorType:  # fmt: skip
    check_image("avg_pool2d_grad", dy, "dy")
    check_window("avg_pool2d_grad", stride, padding, window=window)
    if len(input_shape) != 4:
        raise ShapeError(f"avg_pool2d_grad: input_shape must be [N, C, H, W]; got {list(input_shape)}")
    axes = zip(input_shape[2:], window, stride, padding, strict=True)
    wanted = (*input_shape[:2], *(pool_size("avg_pool2d_grad", *args, 1, ceil_mode) for args in axes))
    if dy.shape != wanted:
        raise ShapeError(
            f"avg_pool2d_grad: dy must be {list(wanted)}, the shape avg_pool2d gives; got {list(dy.shape)}"
        )
    return TensorType.dense(dy.dtype, input_shape)


def reference(dy: torch.Tensor, *, input_shape: Pair, window: Pair, stride: Pair, padding: Pair,
              ceil_mode: bool = False, count_include_pad: bool = True) -> torch.Tensor:  # fmt: skip
    x = dy.new_empty(input_shape)
    return torch.ops.aten.avg_pool2d_backward(dy, x, window, stride, padding, ceil_mode, count_include_pad, None)


def grad(ddx: Any, dx: Any, dy: Any, *, input_shape: Pair, **attrs: Any) -> tuple[Any]:
    """dx is linear in dy; the transpose of spreading is averaging."""
    return (op_named("avg_pool2d")(ddx, **attrs),)


def lower(node: Node, target: Target) -> Lowering:
    (dx,), (dy, *_) = types_of(node)
    attrs = {key: value for key, value in node.attrs.items() if key not in ("epilogue", "input_shape")}
    return one_launch(node, kernel.avg_pool2d_grad(dx, dy, **attrs, epilogue=epilogue_of(node, 1), target=target))  # type: ignore[arg-type]


def _sample(dy: Pair, x: Pair, window: Pair, stride: Pair, padding: Pair = (0, 0), ceil_mode: bool = False,
            include: bool = True) -> Any:  # fmt: skip
    attrs = {"input_shape": x, "window": window, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    return ((dy,), attrs | {"count_include_pad": include})


SAMPLES = (
    _sample((2, 3, 4, 3), (2, 3, 8, 6), (2, 2), (2, 2)),
    _sample((2, 5, 4, 5), (2, 5, 7, 9), (3, 3), (2, 2), (1, 1)),
    _sample((2, 5, 4, 5), (2, 5, 7, 9), (3, 3), (2, 2), (1, 1), include=False),
    _sample((1, 1, 1, 1), (1, 1, 1, 1), (1, 1), (1, 1)),
    _sample((0, 3, 4, 3), (0, 3, 8, 6), (2, 2), (2, 2)),
    _sample((2, 3, 4, 3), (2, 3, 7, 5), (2, 2), (2, 2), ceil_mode=True),
    _sample((2, 3, 5, 3), (2, 3, 8, 5), (3, 3), (2, 2), (1, 1), ceil_mode=True),
    _sample((1, 17, 1, 1), (1, 17, 7, 7), (7, 7), (7, 7)),
)
avg_pool2d_grad = OpDef(
    "avg_pool2d_grad", infer, reference, grad, lower, epilogue=True, orders={4: NHWC}, any_strides=True, samples=SAMPLES
)
