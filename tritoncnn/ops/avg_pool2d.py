"""avg_pool2d: the mean under each window.

y[n,c,p,q] = sum_r,s x[n, c, p*U + r - PAD_H, q*V + s - PAD_W] / count; count is the taps inside the padded image, or,
without ``count_include_pad``, those inside x.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import pool as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.avg_pool2d_grad import avg_pool2d_grad
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import epilogue_of, one_launch, types_of
from tritoncnn.ops.window import NHWC, Pair, check_image, check_window, pool_size


def infer(x: TensorType, *, window: Pair, stride: Pair, padding: Pair, ceil_mode: bool = False,
          count_include_pad: bool = True) -> TensorType:  # fmt: skip
    check_image("avg_pool2d", x)
    check_window("avg_pool2d", stride, padding, window=window)
    P, Q = (
        pool_size("avg_pool2d", *args, 1, ceil_mode) for args in zip(x.shape[2:], window, stride, padding, strict=True)
    )
    return TensorType.dense(x.dtype, (*x.shape[:2], P, Q))


def reference(x: torch.Tensor, *, window: Pair, stride: Pair, padding: Pair, ceil_mode: bool = False,
              count_include_pad: bool = True) -> torch.Tensor:  # fmt: skip
    return torch.nn.functional.avg_pool2d(x, window, stride, padding, ceil_mode, count_include_pad)


def grad(dy: Any, y: Any, x: Any, *, window: Pair, stride: Pair, padding: Pair, ceil_mode: bool = False,
         count_include_pad: bool = True) -> tuple[Any]:  # fmt: skip
    attrs = {"window": window, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    return (avg_pool2d_grad(dy, input_shape=tuple(x.shape), **attrs, count_include_pad=count_include_pad),)


def lower(node: Node, target: Target) -> Lowering:
    (y,), (x, *_) = types_of(node)
    attrs = {key: value for key, value in node.attrs.items() if key != "epilogue"}
    return one_launch(node, kernel.avg_pool2d(y, x, **attrs, epilogue=epilogue_of(node, 1), target=target))  # type: ignore[arg-type]


def _sample(
    x: Pair, window: Pair, stride: Pair, padding: Pair = (0, 0), ceil_mode: bool = False, include: bool = True
) -> Any:
    attrs = {"window": window, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    return ((x,), attrs | {"count_include_pad": include})


SAMPLES = (
    _sample((2, 3, 8, 6), (2, 2), (2, 2)),
    _sample((2, 5, 7, 9), (3, 3), (2, 2), (1, 1)),
    _sample((2, 5, 7, 9), (3, 3), (2, 2), (1, 1), include=False),
    _sample((1, 1, 1, 1), (1, 1), (1, 1)),
    _sample((0, 3, 8, 6), (2, 2), (2, 2)),
    _sample((2, 3, 7, 5), (2, 2), (2, 2), ceil_mode=True),
    _sample((2, 3, 8, 5), (3, 3), (2, 2), (1, 1), ceil_mode=True),
    _sample((1, 17, 7, 7), (7, 7), (7, 7)),
)
avg_pool2d = OpDef(
    "avg_pool2d", infer, reference, grad, lower, epilogue=True, orders={4: NHWC}, any_strides=True, samples=SAMPLES
)
