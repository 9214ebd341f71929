"""max_pool2d: the largest value under each window, and which tap it came from.

y[n,c,p,q] = max_r,s x[n, c, p*U + r*DIL_H - PAD_H, q*V + s*DIL_W - PAD_W]; pixels outside count as -inf; NaN wins, the last one.
index[n,c,p,q] = r*S + s of the first tap inside x that holds it (of NaNs the last), as u8, or i32 when the window has more
than 255 taps.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import pool as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import epilogue_of, one_launch, types_of
from tritoncnn.ops.max_pool2d_grad import index_dtype, max_pool2d_grad
from tritoncnn.ops.window import NHWC, Pair, check_image, check_window, pool_size


def infer(x: TensorType, *, window: Pair, stride: Pair, padding: Pair, dilation: Pair,
          ceil_mode: bool = False) -> tuple[TensorType, TensorType]:  # fmt: skip
    check_image("max_pool2d", x)
    check_window("max_pool2d", stride, padding, dilation, window)
    P, Q = (
        pool_size("max_pool2d", *args, ceil_mode)
        for args in zip(x.shape[2:], window, stride, padding, dilation, strict=True)
    )
    shape = (*x.shape[:2], P, Q)
    return TensorType.dense(x.dtype, shape), TensorType.dense(index_dtype(window), shape)


def max_pool2d_torch(x: torch.Tensor, *, window: Pair, stride: Pair, padding: Pair, dilation: Pair,
                     ceil_mode: bool = False) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """What max_pool2d means, in plain torch: one stacked tensor per tap, then the first maximum, or the last NaN."""
    y, _ = infer(TensorType.dense("f32", x.shape), window=window, stride=stride, padding=padding, dilation=dilation,
                 ceil_mode=ceil_mode)  # fmt: skip
    (P, Q), (R, S), (U, V), (DIL_H, DIL_W) = y.shape[2:], window, stride, dilation
    H = max((P - 1) * U + (R - 1) * DIL_H + 1, x.shape[2] + padding[0])  # the last window may hang over the end
    W = max((Q - 1) * V + (S - 1) * DIL_W + 1, x.shape[3] + padding[1])
    edges = (padding[1], W - padding[1] - x.shape[3], padding[0], H - padding[0] - x.shape[2])
    inside = torch.nn.functional.pad(torch.ones_like(x, dtype=torch.bool), edges)
    x = torch.nn.functional.pad(x, edges, value=float("-inf"))

    def taps(image: torch.Tensor) -> torch.Tensor:
        return torch.stack([
            image[:, :, r * DIL_H : r * DIL_H + (P - 1) * U + 1 : U, s * DIL_W : s * DIL_W + (Q - 1) * V + 1 : V]
            for r in range(R) for s in range(S)
        ], dim=-1)  # fmt: skip

    if y.numel == 0:
        return x.new_empty(y.shape), x.new_empty(y.shape, dtype=index_torch(window))
    values = taps(x)
    missing = values.isnan().flip(-1).to(torch.uint8)  # argmax takes the first
    last = values.shape[-1] - 1 - missing.argmax(-1, keepdim=True)
    index = torch.where(missing.any(-1, keepdim=True).bool(), last, values.argmax(-1, keepdim=True))
    best = values.gather(-1, index)
    first_inside = taps(inside).to(torch.uint8).argmax(-1, keepdim=True)
    index = torch.where(best == float("-inf"), first_inside, index)
    return best.squeeze(-1), index.squeeze(-1).to(index_torch(window))


def index_torch(window: Pair) -> torch.dtype:
    return torch.uint8 if index_dtype(window) == "u8" else torch.int32


def grad(dy: Any, y: Any, x: Any, *, window: Pair, stride: Pair, padding: Pair, dilation: Pair,
         ceil_mode: bool = False) -> tuple[Any]:  # fmt: skip
    steps = {"window": window, "stride": stride, "padding": padding, "dilation": dilation}
    return (max_pool2d_grad(dy, y[1], input_shape=tuple(x.shape), **steps),)


def lower(node: Node, target: Target) -> Lowering:
    (y, index), (x, *_) = types_of(node)
    attrs = {key: value for key, value in node.attrs.items() if key != "epilogue"}
    return one_launch(node, kernel.max_pool2d(y, index, x, **attrs, epilogue=epilogue_of(node, 1), target=target))  # type: ignore[arg-type]


def _sample(
    x: Pair, window: Pair, stride: Pair, padding: Pair = (0, 0), dilation: Pair = (1, 1), ceil_mode: bool = False
) -> Any:
    attrs = {"window": window, "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    return ((x,), attrs)


SAMPLES = (
    _sample((2, 3, 8, 6), (2, 2), (2, 2)),
    _sample((2, 5, 7, 9), (3, 3), (2, 2), (1, 1)),
    _sample((1, 1, 1, 1), (1, 1), (1, 1)),
    _sample((0, 3, 8, 6), (2, 2), (2, 2)),
    _sample((1, 17, 9, 11), (3, 2), (2, 3), (1, 1), (2, 1)),
    _sample((2, 3, 7, 5), (2, 2), (2, 2), ceil_mode=True),
    _sample((1, 2, 18, 17), (16, 16), (2, 1)),
)
max_pool2d = OpDef(
    "max_pool2d",
    infer,
    max_pool2d_torch,
    grad,
    lower,
    epilogue=True,
    orders={4: NHWC},
    any_strides=True,
    samples=SAMPLES,
)
