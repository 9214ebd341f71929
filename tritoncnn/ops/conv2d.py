"""conv2d, of pictures or volumes: y[n,k,p,q] = sum_c,r,s x[n, c, p*U + r*DIL_H - PAD_H, q*V + s*DIL_W - PAD_W] * w[k,c,r,s].

With ``pool=(R, S)`` the result (after the epilogue) is max-pooled over windows of R x S that do not overlap, and there
are two results: the pooled tensor and, as u8, the number r*S + s of the winning tap, the first one on ties. Without
``index`` the second is left out.

A ``prologue``, of filters of one tap without padding, is an expression over x that the kernel computes as it loads x.

With ``taps=(R, S)`` w are panels of filters, [K / B, RSC, B]: ``kernels/panels.py``.

With ``statistics`` there are three results: y, and the mean and (biased) variance of each of its channels, f32, taken before
the epilogue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Attr, Node, TensorType
from tritoncnn.kernels import conv2d as kernel
from tritoncnn.kernels.moments import moments
from tritoncnn.kernels.target import Target
from tritoncnn.ops.conv2d_dgrad import conv2d_dgrad
from tritoncnn.ops.conv2d_wgrad import conv2d_wgrad
from tritoncnn.ops.conv_torch import conv_torch
from tritoncnn.ops.define import InPanels, Lowering, OpDef, Table, Types
from tritoncnn.ops.lowering import epilogue_of, one_launch, refs_of, types_of
from tritoncnn.ops.max_pool2d import max_pool2d_torch
from tritoncnn.ops.max_pool2d_grad import max_pool2d_grad
from tritoncnn.ops.panels import filters_in_panels, filters_of
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.slot import make_slot
from tritoncnn.ops.window import (
    ACTIVATIONS,
    FILTERS,
    Pair,
    check_conv_window,
    check_float,
    check_same_dtype,
    conv_sizes,
)

FEW_ROWS = 1024  # pixels of a result: two blocks of them


def infer(x: TensorType, w: TensorType, *, stride: Pair, padding: Pair, dilation: Pair, groups: int = 1, pool: Pair = (),
          index: bool = True, statistics: bool = False, taps: Pair = ()) -> Types:  # fmt: skip
    check_float("conv2d", x, "x")
    if x.rank not in (4, 5):
        raise ShapeError(f"conv2d: x must be [N, C, H, W] or [N, C, D, H, W]; got {list(x.shape)}")
    check_same_dtype("conv2d", x, w, "x and w")
    check_conv_window("conv2d", x.rank - 2, stride, padding, dilation)
    w = _filters(w, taps, groups)
    if w.rank != x.rank or groups < 1 or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise ShapeError(
            f"conv2d: w must be [K, C/groups, {'R, S' if x.rank == 4 else 'T, R, S'}] with C = {x.shape[1]} channels of x "
            f"and K divisible by groups = {groups}; got {list(w.shape)}"
        )
    sizes = conv_sizes("conv2d", x.shape, w.shape, stride, padding, dilation)
    if statistics:
        if pool or 0 in (x.shape[0], *sizes):
            raise ShapeError(
                f"conv2d: statistics are of results with pixels, not pooled; got {list(x.shape)}, pool {pool}"
            )
        per_channel = TensorType.dense("f32", (w.shape[0],))
        return TensorType.dense(x.dtype, (x.shape[0], w.shape[0], *sizes)), per_channel, per_channel
    if not pool:
        return TensorType.dense(x.dtype, (x.shape[0], w.shape[0], *sizes))
    if x.rank != 4:
        raise ShapeError(f"conv2d: only pictures [N, C, H, W] are pooled; got {list(x.shape)}")
    P, Q = sizes
    if len(pool) != 2 or min(pool) < 1 or pool[0] > P or pool[1] > Q:
        raise ShapeError(f"conv2d: pool must be two numbers from 1 that fit into {[P, Q]}; got {list(pool)}")
    shape = (x.shape[0], w.shape[0], P // pool[0], Q // pool[1])
    pooled = TensorType.dense(x.dtype, shape)
    return (pooled, TensorType.dense("u8", shape)) if index else pooled


def _filters(w: TensorType, taps: Pair, groups: int) -> TensorType:
    return kernel.filters_of_panels(w, taps, groups) if taps else w


def reference(x: torch.Tensor, w: torch.Tensor, *, stride: Pair, padding: Pair, dilation: Pair, groups: int = 1,
              pool: Pair = (), index: bool = True, statistics: bool = False, taps: Pair = ()) -> Any:  # fmt: skip
    w = filters_of(w, taps) if taps else w
    y = conv_torch(x, w, stride, padding, dilation, groups)
    if statistics:
        wide = y if y.dtype == torch.float64 else y.float()
        var, mean = torch.var_mean(wide, (0, *range(2, y.dim())), correction=0)
        return y, mean, var
    if not pool:
        return y
    pooled = max_pool2d_torch(y, window=pool, stride=pool, padding=(0, 0), dilation=(1, 1))
    return pooled if index else pooled[0]


def grad(dy: Any, y: Any, x: Any, w: Any, *, stride: Pair, padding: Pair, dilation: Pair, groups: int = 1, pool: Pair = (),
         index: bool = True, statistics: bool = False, taps: Pair = ()) -> tuple[Any, Any]:  # fmt: skip
    """With ``pool`` the winning taps are needed, so there must have been an index."""
    width = w.shape[2]
    w = filters_of(w, taps) if taps else w
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    if pool:
        P, Q = conv_sizes("conv2d", x.shape, w.shape, stride, padding, dilation)
        shape = (x.shape[0], w.shape[0], P, Q)
        dy = max_pool2d_grad(dy, y[1], input_shape=shape, window=pool, stride=pool, padding=(0, 0), dilation=(1, 1))
    dx = conv2d_dgrad(dy, w, input_shape=tuple(x.shape), **steps, groups=groups)
    dw = conv2d_wgrad(x, dy, filter_shape=tuple(w.shape), **steps, groups=groups)
    return dx, filters_in_panels(dw, width) if taps else dw


def scaled(s: Any, x: Any, w: Any, *, taps: Pair = (), **attrs: Any) -> tuple[Any, Any]:
    if taps:
        return x, w * reshape(s, shape=(w.shape[0], 1, w.shape[2]))
    return x, w * reshape(s, shape=(w.shape[0], *(1,) * (len(w.shape) - 1)))


def lower(node: Node, target: Target) -> Lowering:
    (y, *further), (x, w, *_) = types_of(node)
    attrs: dict[str, Any] = {
        key: value for key, value in node.attrs.items() if key not in ("epilogue", "prologue", "index")
    }
    filters = _filters(w, attrs.get("taps", ()), attrs.get("groups", 1))
    sizes = conv_sizes("conv2d", x.shape, filters.shape, attrs["stride"], attrs["padding"], attrs["dilation"])
    unpooled = TensorType.dense(y.dtype, (*y.shape[:2], *sizes))
    slots: dict[str, Any] = {"epilogue": epilogue_of(node, 2, unpooled)}
    if "prologue" in node.attrs:
        slots["prologue"] = make_slot(str(node.attrs["prologue"]), x, tuple(v.type for v in node.operands[2:]))
    if "statistics" not in attrs:
        indices = further[0] if further else None
        return one_launch(node, kernel.conv2d(y, x, w, **attrs, **slots, indices=indices, target=target))
    launch = kernel.conv2d(y, x, w, **attrs, **slots, target=target)
    parts = launch.operands[1]
    rows, block = y.numel // y.shape[1], launch.constants["BLOCK_NPQ"]
    table = Table(TensorType.dense("i64", (3,)), (rows, block, y.shape[1]))
    joined = moments(further[0], further[1], parts, table.type, rows, block)
    operands = refs_of(node)[3:]
    return Lowering(((launch, ("r0", "w0", *operands)), (joined, ("r1", "r2", "w0", "t0"))), (parts,), (table,))


def suits(i: int, types: tuple[TensorType, ...], attrs: Any, target: Target) -> bool:
    """Filters with channels innermost, which so few rows read that each is packed once or twice: turned on the way, on a CPU."""
    if i != 1 or target.kind != "cpu":
        return False
    x, w = types[:2]
    if w.rank != x.rank:  # panels
        return False
    K, C = w.shape[:2]
    even = w.dtype == "f32" and w.strides[1] == 1 and K % 16 == 0 and C % 16 == 0
    sizes = conv_sizes("conv2d", x.shape, w.shape, attrs["stride"], attrs["padding"], attrs["dilation"])
    return even and w.shape[2:] != (1,) * (w.rank - 2) and x.shape[0] * math.prod(sizes) <= FEW_ROWS


def panelled(types: tuple[TensorType, ...], attrs: Mapping[str, Attr]) -> InPanels | None:
    """Filters of pictures, in one group, by their rows R, S, C."""
    w = types[1]
    return (0, (2, 3, 1), {"taps": w.shape[2:]}) if w.rank == 4 and attrs.get("groups", 1) == 1 else None


def _sample(x: Pair, w: Pair, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1), groups: int = 1,
            pool: Pair = (), statistics: bool = False, taps: Pair = ()) -> Any:  # fmt: skip
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return ((x, w), attrs | ({"pool": pool} if pool else {}) | ({"statistics": True} if statistics else {})
            | ({"taps": taps} if taps else {}))  # fmt: skip


SAMPLES = (
    _sample((2, 3, 7, 5), (4, 3, 3, 3)),
    _sample((1, 1, 1, 1), (1, 1, 1, 1)),
    _sample((0, 3, 7, 5), (4, 3, 3, 3)),
    _sample((2, 3, 11, 8), (5, 3, 3, 2), (2, 3), (1, 0), (2, 1)),
    _sample((1, 1, 12, 13), (6, 1, 5, 5), padding=(2, 2)),
    _sample((1, 17, 9, 9), (33, 17, 1, 1), (2, 2)),
    _sample((2, 4, 6, 6), (6, 2, 3, 3), padding=(1, 1), groups=2),
    _sample((2, 3, 10, 9), (5, 3, 3, 3), pool=(2, 2)),
    _sample((1, 2, 9, 9), (3, 2, 3, 3), padding=(1, 1), pool=(3, 2)),
    _sample((2, 6, 7, 6), (9, 2, 3, 2), (2, 1), (1, 1), (1, 2), groups=3),
    _sample((2, 34, 5, 5), (66, 17, 1, 1), groups=2),
    _sample((2, 12, 6, 7), (12, 1, 3, 3), (2, 2), (1, 1), groups=12),
    _sample((1, 3, 8, 8), (6, 1, 3, 3), (1, 1), (1, 1), groups=3),
    _sample((2, 3, 9, 7), (5, 3, 3, 3), (1, 2), (2, 0, 0, 3)),
    _sample((2, 17, 5, 9), (5, 17, 1, 3), padding=(0, 0, 4, 0), dilation=(1, 2)),
    _sample((2, 3, 5, 6, 7), (4, 3, 2, 3, 3), (1, 2, 1), (1, 0, 1), (1, 1, 2)),
    _sample((1, 4, 4, 5, 6), (6, 2, 3, 3, 3), (2, 1, 2), (1, 1, 1), (1, 1, 1), groups=2),
    _sample((2, 3, 1, 5, 4), (4, 3, 3, 3, 2), (1, 1, 1), (1, 1, 0), (1, 1, 1)),
    _sample((2, 3, 1, 5, 4), (4, 3, 1, 3, 2), (2, 1, 1), (2, 0, 0), (1, 1, 1)),
    _sample((2, 3, 1, 5, 4), (6, 1, 3, 3, 2), (1, 1, 1), (1, 1, 0), (1, 1, 1), groups=3),
    _sample((1, 20, 3, 7, 5), (20, 1, 2, 3, 3), (1, 2, 1), (1, 0, 1, 1, 0, 2), (1, 1, 2), groups=20),
    _sample((0, 4, 5, 5), (8, 1, 3, 3), groups=4),
    _sample((2, 4, 8, 8), (4, 1, 3, 3), groups=4, pool=(2, 2)),
    _sample((1, 17, 3, 4, 4), (33, 17, 1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1)),
    _sample((2, 3, 11, 8), (5, 3, 3, 2), (2, 3), (1, 0), statistics=True),
    _sample((3, 17, 9, 9), (33, 17, 3, 3), padding=(1, 1), statistics=True),
    _sample((2, 4, 6, 6), (6, 2, 3, 3), groups=2, statistics=True),
    _sample((1, 3, 2, 5, 4), (4, 3, 2, 2, 2), (1, 1, 1), (1, 0, 1), (1, 1, 1), statistics=True),
    _sample((2, 5, 6, 7), (2, 30, 64), padding=(1, 0), taps=(3, 2)),
    _sample((1, 96, 4, 4), (3, 864, 32), padding=(1, 1), taps=(3, 3), pool=(2, 2)),
    _sample((2, 70, 3, 5), (2, 70, 64), (2, 1), taps=(1, 1)),
    _sample((2, 17, 5, 4), (2, 68, 32), (1, 1), (1, 1), (2, 1), taps=(2, 2), statistics=True),
)
conv2d = OpDef(
    "conv2d", infer, reference, grad, lower, arity=2, epilogue=True, prologue=True, orders=ACTIVATIONS,
    wants={0: ACTIVATIONS, 1: FILTERS},
    suits=suits, scaled=scaled, panelled=panelled, any_strides=True, samples=SAMPLES,
)  # fmt: skip
