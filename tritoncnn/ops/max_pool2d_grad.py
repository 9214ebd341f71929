"""max_pool2d_grad: the gradient of max_pool2d for its input of ``input_shape``: each dy goes to the tap that won.

dx[n,c,h,w] = sum of dy[n,c,p,q] over the windows whose index says (h, w).
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import pool as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import epilogue_of, one_launch, types_of
from tritoncnn.ops.window import NHWC, Pair, check_image, check_window


def index_dtype(window: Pair) -> str:
    """u8 holds the tap's number, unless the window has more than 255 taps."""
    return "u8" if window[0] * window[1] <= 255 else "i32"


def infer(dy: TensorType, index: TensorType, *, input_shape: Pair, window: Pair, stride: Pair, padding: Pair,
          dilation: Pair) -> TensorType:  # fmt: skip
    check_image("max_pool2d_grad", dy, "dy")
    check_window("max_pool2d_grad", stride, padding, dilation, window)
    if index.shape != dy.shape:
        raise ShapeError(f"max_pool2d_grad: index must be {list(dy.shape)}, one per dy; got {list(index.shape)}")
    if index.dtype != index_dtype(window):
        raise DTypeError(f"max_pool2d_grad: index must be {index_dtype(window)} for {list(window)}; got {index.dtype}")
    if len(input_shape) != 4 or tuple(input_shape[:2]) != dy.shape[:2]:
        raise ShapeError(f"max_pool2d_grad: input_shape must start with {list(dy.shape[:2])}; got {list(input_shape)}")
    return TensorType.dense(dy.dtype, input_shape)


def reference(dy: torch.Tensor, index: torch.Tensor, *, input_shape: Pair, window: Pair, stride: Pair, padding: Pair,
              dilation: Pair) -> torch.Tensor:  # fmt: skip
    """Scatter into an image with a margin of one pixel that catches the taps outside."""
    N, C, H, W = input_shape
    r, s = index.long() // window[1], index.long() % window[1]
    h = torch.arange(dy.shape[2])[:, None] * stride[0] + r * dilation[0] - padding[0]
    w = torch.arange(dy.shape[3]) * stride[1] + s * dilation[1] - padding[1]
    inside = (h >= 0) & (h < H) & (w >= 0) & (w < W)
    place = torch.where(inside, h * W + w, H * W)
    dx = dy.new_zeros(N, C, H * W + 1)
    return dx.scatter_add(2, place.flatten(2), dy.flatten(2))[..., :-1].reshape(input_shape)


def lower(node: Node, target: Target) -> Lowering:
    (dx,), (dy, index, *_) = types_of(node)
    attrs = {key: value for key, value in node.attrs.items() if key not in ("epilogue", "input_shape")}
    launch = kernel.max_pool2d_grad(dx, dy, index, **attrs, epilogue=epilogue_of(node, 2), target=target)  # type: ignore[arg-type]
    return one_launch(node, launch)


def _sample(dy: Pair, x: Pair, window: Pair, stride: Pair, padding: Pair = (0, 0), dilation: Pair = (1, 1)) -> Any:
    attrs = {"input_shape": x, "window": window, "stride": stride, "padding": padding, "dilation": dilation}
    return ((dy, (index_dtype(window), dy, window[0] * window[1])), attrs)


SAMPLES = (
    _sample((2, 3, 4, 3), (2, 3, 8, 6), (2, 2), (2, 2)),
    _sample((2, 5, 4, 5), (2, 5, 7, 9), (3, 3), (2, 2), (1, 1)),
    _sample((1, 1, 1, 1), (1, 1, 1, 1), (1, 1), (1, 1)),
    _sample((0, 3, 4, 3), (0, 3, 8, 6), (2, 2), (2, 2)),
    _sample((1, 17, 4, 4), (1, 17, 9, 11), (3, 2), (2, 3), (1, 1), (2, 1)),
    _sample((2, 3, 4, 3), (2, 3, 7, 5), (2, 2), (2, 2)),
    _sample((1, 2, 2, 2), (1, 2, 18, 17), (16, 16), (2, 1)),
)
max_pool2d_grad = OpDef(
    "max_pool2d_grad",
    infer,
    reference,
    lower=lower,
    arity=2,
    epilogue=True,
    orders={4: NHWC},
    any_strides=True,
    samples=SAMPLES,
)
