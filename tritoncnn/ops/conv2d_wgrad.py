"""conv2d_wgrad: the gradient of conv2d for its filter w of ``filter_shape``, from x and dy.

dw[k,c,r,s] = sum_n,p,q x[n, c, p*U + r*DIL_H - PAD_H, q*V + s*DIL_W - PAD_W] * dy[n,k,p,q].
With ``bias`` there is a second result, the gradient of a bias: db[k] = sum_n,p,q dy[n,k,p,q].
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import conv2d_wgrad as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.conv2d_dgrad import check_shapes, conv2d_dgrad
from tritoncnn.ops.conv_torch import conv_wgrad_torch
from tritoncnn.ops.define import Lowering, OpDef, Types, op_named
from tritoncnn.ops.lowering import in_parts, types_of
from tritoncnn.ops.window import ACTIVATIONS, FILTERS, Pair, check_float, check_same_dtype


def infer(x: TensorType, dy: TensorType, *, filter_shape: Pair, stride: Pair, padding: Pair, dilation: Pair,
          groups: int = 1, bias: bool = False) -> Types:  # fmt: skip
    check_float("conv2d_wgrad", x, "x")
    check_same_dtype("conv2d_wgrad", x, dy, "x and dy")
    check_shapes("conv2d_wgrad", x.shape, filter_shape, dy.shape, stride, padding, dilation, groups)
    dw = TensorType.dense(x.dtype, filter_shape)
    return (dw, TensorType.dense(x.dtype, filter_shape[:1])) if bias else dw


def reference(x: torch.Tensor, dy: torch.Tensor, *, filter_shape: Pair, stride: Pair, padding: Pair, dilation: Pair,
              groups: int = 1, bias: bool = False) -> Any:  # fmt: skip
    dw = conv_wgrad_torch(x, dy, filter_shape, stride, padding, dilation, groups)
    return (dw, dy.sum((0, *range(2, dy.dim())))) if bias else dw


def grad(ddw: Any, dw: Any, x: Any, dy: Any, *, filter_shape: Pair, stride: Pair, padding: Pair, dilation: Pair,
         groups: int = 1, bias: bool = False) -> tuple[Any, Any]:  # fmt: skip
    """dw is linear in x and in dy: with ddw in the place of w they are conv2d's input gradient and conv2d."""
    steps = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return conv2d_dgrad(dy, ddw, input_shape=tuple(x.shape), **steps), op_named("conv2d")(x, ddw, **steps)


def side_sum(types: tuple[TensorType, ...]) -> tuple[str, tuple[int, ...]]:
    return "bias", (0, *range(2, types[1].rank))


def lower(node: Node, target: Target) -> Lowering:
    (dw, *db), (x, dy) = types_of(node)
    attrs = {key: value for key, value in node.attrs.items() if key not in ("filter_shape", "bias")}
    launches, workspace = kernel.conv2d_wgrad(dw, db[0] if db else None, x, dy, **attrs, target=target)  # type: ignore[arg-type]
    return in_parts(node, launches, workspace, 2)


def _sample(x: Pair, dy: Pair, w: Pair, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1),
            groups: int = 1, bias: bool = False) -> Any:  # fmt: skip
    attrs = {"filter_shape": w, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return ((x, dy), attrs | ({"bias": True} if bias else {}))


SAMPLES = (
    _sample((2, 3, 7, 5), (2, 4, 5, 3), (4, 3, 3, 3)),
    _sample((2, 3, 7, 5), (2, 4, 5, 3), (4, 3, 3, 3), bias=True),
    _sample((1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1), bias=True),
    _sample((0, 3, 7, 5), (0, 4, 5, 3), (4, 3, 3, 3)),
    _sample((2, 3, 11, 8), (2, 5, 5, 3), (5, 3, 3, 2), (2, 3), (1, 0), (2, 1), bias=True),
    _sample((3, 17, 9, 9), (3, 33, 5, 5), (33, 17, 1, 1), (2, 2)),
    _sample((2, 1, 12, 13), (2, 6, 12, 13), (6, 1, 5, 5), padding=(2, 2), bias=True),
    _sample((2, 4, 6, 6), (2, 6, 6, 6), (6, 2, 3, 3), padding=(1, 1), groups=2),
    _sample((2, 6, 7, 5), (2, 9, 4, 5), (9, 2, 3, 2), (2, 1), (1, 1), (1, 2), groups=3, bias=True),
    _sample((2, 12, 6, 7), (2, 12, 3, 4), (12, 1, 3, 3), (2, 2), (1, 1), groups=12),
    _sample((2, 3, 9, 7), (2, 5, 9, 4), (5, 3, 3, 3), (1, 2), (2, 0, 0, 3), bias=True),
    _sample((2, 3, 5, 6, 7), (2, 4, 6, 2, 5), (4, 3, 2, 3, 3), (1, 2, 1), (1, 0, 1), (1, 1, 2), bias=True),
    _sample((2, 3, 1, 5, 4), (2, 4, 1, 5, 3), (4, 3, 3, 3, 2), (1, 1, 1), (1, 1, 0), (1, 1, 1)),
    _sample((2, 3, 1, 5, 4), (2, 4, 3, 3, 3), (4, 3, 1, 3, 2), (2, 1, 1), (2, 0, 0), (1, 1, 1)),
    _sample((2, 3, 1, 5, 4), (2, 6, 1, 5, 3), (6, 1, 3, 3, 2), (1, 1, 1), (1, 1, 0), (1, 1, 1), groups=3, bias=True),
    _sample((3, 4, 20, 20), (3, 8, 20, 20), (8, 1, 3, 3), padding=(1, 1), groups=4, bias=True),
    _sample((0, 4, 5, 5), (0, 8, 3, 3), (8, 1, 3, 3), groups=4),
    _sample((1, 4, 4, 5, 6), (1, 6, 2, 5, 3), (6, 2, 3, 3, 3), (2, 1, 2), (1, 1, 1), (1, 1, 1), groups=2),
)
conv2d_wgrad = OpDef(
    "conv2d_wgrad",
    infer,
    reference,
    grad,
    lower,
    arity=2,
    orders=FILTERS,
    any_order=True,
    side_sum=side_sum,
    wants={0: ACTIVATIONS, 1: ACTIVATIONS},
    samples=SAMPLES,
)
