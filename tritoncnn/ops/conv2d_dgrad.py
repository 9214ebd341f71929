"""conv2d_dgrad: the gradient of conv2d for its input x of ``input_shape``, from dy and w.

dx[n,c,h,w] = sum over k, r, s and the p, q with p*U + r*DIL_H - PAD_H = h, q*V + s*DIL_W - PAD_W = w
              of dy[n,k,p,q] * w[k,c,r,s].
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import conv2d_dgrad as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.conv_torch import conv_dgrad_torch
from tritoncnn.ops.define import Lowering, OpDef, op_named
from tritoncnn.ops.expand import expand
from tritoncnn.ops.lowering import epilogue_of, one_launch, types_of
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.window import (
    ACTIVATIONS,
    FILTERS_BACK,
    Pair,
    check_conv_window,
    check_float,
    check_same_dtype,
    conv_sizes,
)


def check_shapes(op: str, x: Pair, w: Pair, dy: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> None:
    """Raises ShapeError unless conv2d of x [N, C, H, W] by w [K, C/groups, R, S] gives the shape of dy."""
    if len(x) not in (4, 5) or len(w) != len(x) or groups < 1 or x[1] != w[1] * groups or w[0] % groups:
        raise ShapeError(f"{op}: x [N, C, ...] and w [K, C/{groups}, ...] must fit; got {list(x)}, {list(w)}")
    check_conv_window(op, len(x) - 2, stride, padding, dilation)
    sizes = conv_sizes(op, x, w, stride, padding, dilation)
    if tuple(dy) != (x[0], w[0], *sizes):
        raise ShapeError(f"{op}: dy must be {[x[0], w[0], *sizes]}, the shape conv2d gives; got {list(dy)}")


def infer(dy: TensorType, w: TensorType, *, input_shape: Pair, stride: Pair, padding: Pair, dilation: Pair,
          groups: int = 1) -> TensorType:  # fmt: skip
    check_float("conv2d_dgrad", dy, "dy")
    check_same_dtype("conv2d_dgrad", dy, w, "dy and w")
    check_shapes("conv2d_dgrad", input_shape, w.shape, dy.shape, stride, padding, dilation, groups)
    return TensorType.dense(dy.dtype, input_shape)


def reference(dy: torch.Tensor, w: torch.Tensor, *, input_shape: Pair, stride: Pair, padding: Pair, dilation: Pair,
              groups: int = 1) -> torch.Tensor:  # fmt: skip
    return conv_dgrad_torch(dy, w, input_shape, stride, padding, dilation, groups)


def grad(ddx: Any, dx: Any, dy: Any, w: Any, *, input_shape: Pair, stride: Pair, padding: Pair, dilation: Pair,
         groups: int = 1) -> tuple[Any, Any]:  # fmt: skip
    """dx is linear in dy and in w: with ddx in the place of x they are conv2d and its filter gradient."""
    steps = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return op_named("conv2d")(ddx, w, **steps), op_named("conv2d_wgrad")(ddx, dy, filter_shape=tuple(w.shape), **steps)


def scaled(s: Any, dy: Any, w: Any, *, groups: int = 1, **attrs: Any) -> tuple[Any, Any]:
    K, C_G = w.shape[:2]
    by_filter = expand(reshape(s, shape=(groups, 1, C_G)), shape=(groups, K // groups, C_G))
    return dy, w * reshape(by_filter, shape=(K, C_G, *(1,) * (len(w.shape) - 2)))


def lower(node: Node, target: Target) -> Lowering:
    (dx,), (dy, w, *_) = types_of(node)
    attrs = {key: value for key, value in node.attrs.items() if key not in ("epilogue", "input_shape")}
    return one_launch(node, kernel.conv2d_dgrad(dx, dy, w, **attrs, epilogue=epilogue_of(node, 2), target=target))  # type: ignore[arg-type]


def _sample(dy: Pair, w: Pair, x: Pair, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
            groups: int = 1) -> Any:  # fmt: skip
    return ((dy, w), {"input_shape": x, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups})


SAMPLES = (
    _sample((2, 4, 5, 3), (4, 3, 3, 3), (2, 3, 7, 5)),
    _sample((1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1)),
    _sample((0, 4, 5, 3), (4, 3, 3, 3), (0, 3, 7, 5)),
    _sample((2, 5, 5, 3), (5, 3, 3, 2), (2, 3, 11, 8), (2, 3), (1, 0), (2, 1)),
    _sample((1, 33, 5, 5), (33, 17, 1, 1), (1, 17, 9, 9), (2, 2)),
    _sample((1, 6, 12, 13), (6, 1, 5, 5), (1, 1, 12, 13), padding=(2, 2)),
    _sample((2, 6, 6, 6), (6, 2, 3, 3), (2, 4, 6, 6), padding=(1, 1), groups=2),
    _sample((2, 9, 4, 5), (9, 2, 3, 2), (2, 6, 7, 5), (2, 1), (1, 1), (1, 2), groups=3),
    _sample((2, 12, 3, 4), (12, 1, 3, 3), (2, 12, 6, 7), (2, 2), (1, 1), groups=12),
    _sample((2, 5, 9, 4), (5, 3, 3, 3), (2, 3, 9, 7), (1, 2), (2, 0, 0, 3)),
    _sample((2, 4, 6, 2, 5), (4, 3, 2, 3, 3), (2, 3, 5, 6, 7), (1, 2, 1), (1, 0, 1), (1, 1, 2)),
    _sample((1, 6, 2, 5, 3), (6, 2, 3, 3, 3), (1, 4, 4, 5, 6), (2, 1, 2), (1, 1, 1), (1, 1, 1), groups=2),
    _sample((2, 4, 1, 5, 3), (4, 3, 3, 3, 2), (2, 3, 1, 5, 4), (1, 1, 1), (1, 1, 0), (1, 1, 1)),
    _sample((2, 4, 3, 3, 3), (4, 3, 1, 3, 2), (2, 3, 1, 5, 4), (2, 1, 1), (2, 0, 0), (1, 1, 1)),
    _sample((2, 6, 3, 3, 3), (6, 1, 1, 3, 2), (2, 3, 1, 5, 4), (2, 1, 1), (2, 0, 0), (1, 1, 1), groups=3),
    _sample((1, 20, 3, 4, 3), (20, 1, 2, 3, 3), (1, 20, 3, 7, 5), (1, 2, 1), (1, 0, 1, 1, 0, 2), (1, 1, 2), groups=20),
    _sample((0, 8, 3, 3), (8, 1, 3, 3), (0, 4, 5, 5), groups=4),
    _sample((1, 3, 4, 4), (3, 2, 2, 2), (1, 2, 17, 17), (3, 3), (0, -3, 0, -3), (4, 4)),
)
conv2d_dgrad = OpDef(
    "conv2d_dgrad",
    infer,
    reference,
    grad,
    lower,
    arity=2,
    epilogue=True,
    orders=ACTIVATIONS,
    wants={0: ACTIVATIONS, 1: FILTERS_BACK},
    scaled=scaled,
    any_strides=True,
    samples=SAMPLES,
)
