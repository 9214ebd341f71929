"""standardize: y = (x - mean) / sqrt(var + eps) over ``dims``, with the mean and the (biased) variance, dims kept.

What batch, group, instance and layer norm share; ``groups``: statistics over all channels of a group.
Two passes, since E[x^2] - E[x]^2 cancels.
Gradient: dx = (dy - mean(dy) - y * mean(dy * y)) / sqrt(var + eps). Source: Ioffe & Szegedy 2015, "Batch normalization", 3.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.row_norm import LONGEST_ROW
from tritoncnn.ops.define import OpDef, op_named
from tritoncnn.ops.expand import expand
from tritoncnn.ops.mean import mean
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.rsqrt import rsqrt
from tritoncnn.ops.sum import sum_
from tritoncnn.ops.window import Pair, check_float


def _mean(x: Any, dims: Pair, groups: int) -> Any:
    """The mean over ``dims``, kept with size 1; with ``groups`` that of all channels of a group, for each channel."""
    count = math.prod(x.shape[d] for d in dims)
    kept = tuple(1 if dim in dims else size for dim, size in enumerate(x.shape))
    total = sum_(x, dims=dims)
    if groups:
        N, C = x.shape[:2]
        count *= C // groups
        total = reshape(sum_(reshape(total, shape=(N, groups, C // groups)), dims=(2,)), shape=(N, groups, 1))
        total = expand(total, shape=(N, groups, C // groups))
    return reshape(total, shape=kept) * (1 / count if count else math.nan)


def _centre(x: Any, dims: Pair, groups: int) -> Any:
    """As ``_mean``, and exactly the value of elements that are all equal: the means of parts of one size, again."""
    kept = tuple(1 if dim in dims else size for dim, size in enumerate(x.shape))
    total = mean(x, dims=dims)
    if groups:
        N, C = x.shape[:2]
        total = reshape(mean(reshape(total, shape=(N, groups, C // groups)), dims=(2,)), shape=(N, groups, 1))
        total = expand(total, shape=(N, groups, C // groups))
    return reshape(total, shape=kept)


def infer(x: TensorType, *, dims: Pair, eps: float, groups: int = 0) -> tuple[TensorType, TensorType, TensorType]:
    check_float("standardize", x, "x")
    if not dims or list(dims) != sorted(set(dims)) or dims[0] < 0 or dims[-1] >= x.rank:
        raise ShapeError(
            f"standardize: dims must be dims of x {list(x.shape)}, ascending, at least one; got {list(dims)}"
        )
    if groups and (dims != tuple(range(2, x.rank)) or x.shape[1] % groups):
        raise ShapeError(
            f"standardize: {groups} groups must divide the channels of x {list(x.shape)}, dims be its pixels"
        )
    small = TensorType.dense(x.dtype, tuple(1 if dim in dims else size for dim, size in enumerate(x.shape)))
    return TensorType.dense(x.dtype, x.shape), small, small


def compose(x: Any, *, dims: Pair, eps: float, groups: int = 0) -> tuple[Any, Any, Any]:
    if (
        len(x.shape) == 2 and dims == (1,) and not groups and 1 <= x.shape[1] <= LONGEST_ROW
    ):  # a row fits into a program
        found: tuple[Any, Any, Any] = op_named("standardize_rows")(x, eps=eps)
        return found
    centre = _centre(x, dims, groups)
    centred = x - centre
    var = _mean(centred * centred, dims, groups)
    return centred * rsqrt(var + eps), centre, var


def grad(dy: Any, y: Any, x: Any, *, dims: Pair, eps: float, groups: int = 0) -> tuple[Any]:
    _, centre, var = y
    scale = rsqrt(var + eps)
    y = (x - centre) * scale  # again, so that the forward pass need not keep it
    return ((dy - _mean(dy, dims, groups) - y * _mean(dy * y, dims, groups)) * scale,)


def reference(x: torch.Tensor, *, dims: Pair, eps: float, groups: int = 0) -> tuple[torch.Tensor, ...]:
    parts = x.unflatten(1, (groups, -1)) if groups else x
    over = tuple(range(2, parts.dim())) if groups else dims
    var, centre = (t.expand_as(parts) for t in torch.var_mean(parts, over, correction=0, keepdim=True))
    first = tuple(slice(0, 1) if d in dims else slice(None) for d in range(x.dim()))
    centre, var = centre.reshape(x.shape), var.reshape(x.shape)
    return (x - centre) / (var + eps).sqrt(), centre[first], var[first]


SAMPLES: tuple[Any, ...] = tuple(
    ((shape,), {"dims": dims, "eps": 1e-5})
    for shape, dims in (((2, 3, 5, 7), (0, 2, 3)), ((4, 33), (1,)), ((2, 6, 4, 4), (1, 2, 3)), ((2, 3, 5), (2,)))
)
SAMPLES += ((((2, 6, 4, 5),), {"dims": (2, 3), "eps": 1e-5, "groups": 3}),)
standardize = OpDef("standardize", infer, reference, grad, compose=compose, samples=SAMPLES)
