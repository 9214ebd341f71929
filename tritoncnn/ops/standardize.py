"""standardize: y = (x - mean) / sqrt(var + eps) over ``dims``, with the mean and the (biased) variance, dims kept.

With ``groups``, over all channels of a group as well: dim 1 is cut into so many, and each channel's statistics are its group's.
What batch, group, instance and layer norm share.
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
from tritoncnn.ops.group_mean import group_mean
from tritoncnn.ops.mean import mean
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.rsqrt import rsqrt
from tritoncnn.ops.sum import sum_
from tritoncnn.ops.window import Pair, check_float


def _kept(x: Any, dims: Pair) -> tuple[int, ...]:
    """The shape of statistics: ``dims`` have size 1."""
    return tuple(1 if dim in dims else size for dim, size in enumerate(x.shape))


def _mean(x: Any, dims: Pair, groups: int) -> Any:
    """The mean over ``dims``, kept with size 1."""
    count = math.prod(x.shape[d] for d in dims)
    sums = sum_(x, dims=dims)
    sums = group_mean(sums, groups=groups) if groups else sums
    return reshape(sums, shape=_kept(x, dims)) * (1 / count if count else math.nan)


def infer(x: TensorType, *, dims: Pair, eps: float, groups: int = 0) -> tuple[TensorType, TensorType, TensorType]:
    check_float("standardize", x, "x")
    if not dims or list(dims) != sorted(set(dims)) or dims[0] < 0 or dims[-1] >= x.rank:
        raise ShapeError(
            f"standardize: dims must be dims of x {list(x.shape)}, ascending, at least one; got {list(dims)}"
        )
    if groups and (dims != tuple(range(2, x.rank)) or groups < 0 or x.shape[1] % groups):
        raise ShapeError(
            f"standardize: groups must divide the channels of x {list(x.shape)}, and dims be all behind them; "
            f"got {groups} and {list(dims)}"
        )
    small = TensorType.dense(x.dtype, _kept(x, dims))
    return TensorType.dense(x.dtype, x.shape), small, small


def compose(x: Any, *, dims: Pair, eps: float, groups: int = 0) -> tuple[Any, Any, Any]:
    if len(x.shape) == 2 and dims == (1,) and 1 <= x.shape[1] <= LONGEST_ROW:  # a row fits into a program
        found: tuple[Any, Any, Any] = op_named("standardize_rows")(x, eps=eps)
        return found
    means = mean(x, dims=dims)  # exactly the value of elements that are all equal
    centre = reshape(group_mean(means, groups=groups) if groups else means, shape=_kept(x, dims))
    centred = x - centre
    var = _mean(centred * centred, dims, groups)
    return centred * rsqrt(var + eps), centre, var


def grad(dy: Any, y: Any, x: Any, *, dims: Pair, eps: float, groups: int = 0) -> tuple[Any]:
    _, centre, var = y
    scale = rsqrt(var + eps)
    y = (x - centre) * scale  # again, so that the forward pass need not keep it
    return ((dy - _mean(dy, dims, groups) - y * _mean(dy * y, dims, groups)) * scale,)


def reference(x: torch.Tensor, *, dims: Pair, eps: float, groups: int = 0) -> tuple[torch.Tensor, ...]:
    if groups:
        cut = x.unflatten(1, (groups, -1))
        y, centre, var = reference(cut, dims=tuple(range(2, cut.dim())), eps=eps)
        small = [t.expand(-1, -1, cut.shape[2], *t.shape[3:]).reshape(_kept(x, dims)) for t in (centre, var)]
        return y.reshape(x.shape), *small
    var, centre = torch.var_mean(x, dims, correction=0, keepdim=True)
    return (x - centre) / (var + eps).sqrt(), centre, var


SAMPLES: tuple[Any, ...] = tuple(
    ((shape,), {"dims": dims, "eps": 1e-5})
    for shape, dims in (((2, 3, 5, 7), (0, 2, 3)), ((4, 33), (1,)), ((2, 6, 4, 4), (1, 2, 3)), ((2, 3, 5), (2,)))
) + tuple(
    ((shape,), {"dims": tuple(range(2, len(shape))), "eps": 1e-5, "groups": groups})
    for shape, groups in (((2, 6, 4, 4), 2), ((2, 12, 5), 4), ((3, 4, 1), 2))
)
standardize = OpDef("standardize", infer, reference, grad, compose=compose, samples=SAMPLES)
