"""ATen's normalisations in terms of our ops. Statistics are taken in f32 whatever the tensors hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.formulas.dtypes import narrow, widen
from tritoncnn.formulas.refused import Refused
from tritoncnn.ops import OPS

op = OPS


def _affine(y: Any, weight: Any, bias: Any, shape: Sequence[int]) -> Any:
    """y * weight + bias, both reshaped to ``shape``."""
    if weight is not None:
        y = y * op["reshape"](widen(weight), shape=tuple(shape))
    return y if bias is None else y + op["reshape"](widen(bias), shape=tuple(shape))


def check_parameters(name: str, size: int, **given: Any) -> None:
    for key, value in given.items():
        if value is not None and tuple(value.shape) != (size,):
            raise ShapeError(f"{name}: {key} must be [{size}], one number per channel; got {list(value.shape)}")


def batch_norm_eval(x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float) -> Any:
    """y = x * s + (bias - mean * s) with s = weight / sqrt(var + eps): one multiply-add per pixel.

    Source: Ioffe & Szegedy 2015, "Batch normalization".
    """
    if len(x.shape) < 2:
        raise ShapeError(f"batch_norm: x must be [N, C, ...]; got {list(x.shape)}")
    check_parameters("batch_norm", x.shape[1], weight=weight, bias=bias, running_mean=mean, running_var=var)
    scale = op["rsqrt"](widen(var) + eps)
    scale = scale if weight is None else scale * widen(weight)
    shift = -(widen(mean) * scale) if bias is None else widen(bias) - widen(mean) * scale
    shape = (1, x.shape[1], *(1,) * (len(x.shape) - 2))
    y = widen(x) * op["reshape"](scale, shape=shape) + op["reshape"](shift, shape=shape)
    return narrow(y, x)


def batch_norm_train(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
) -> tuple[Any, Any, Any]:
    """(y, running mean, running variance), the latter two moved towards the batch's by ``momentum`` (or None)."""
    if len(x.shape) < 2:
        raise ShapeError(f"batch_norm: x must be [N, C, ...]; got {list(x.shape)}")
    check_parameters("batch_norm", x.shape[1], weight=weight, bias=bias, running_mean=mean, running_var=var)
    dims = tuple(d for d in range(len(x.shape)) if d != 1)
    count = math.prod(x.shape[d] for d in dims)
    if count < 2:
        raise ShapeError(f"batch_norm: training needs more than 1 value per channel; x is {list(x.shape)}")
    y, batch_mean, batch_var = op["standardize"](widen(x), dims=dims, eps=float(eps))
    y = narrow(_affine(y, weight, bias, batch_mean.shape), x)
    if mean is None:
        return y, None, None
    new_mean = widen(mean) * (1 - momentum) + op["reshape"](batch_mean, shape=mean.shape) * momentum
    unbiased = momentum * count / (count - 1)
    new_var = widen(var) * (1 - momentum) + op["reshape"](batch_var, shape=var.shape) * unbiased
    return y, narrow(new_mean, mean), narrow(new_var, var)


def group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn: bool = True) -> Any:
    """Source: Wu & He 2018, "Group normalization"."""
    if len(x.shape) < 2:
        raise ShapeError(f"group_norm: x must be [N, C, ...]; got {list(x.shape)}")
    N, C, *pixels = x.shape
    if groups < 1 or C % groups:
        raise ShapeError(f"group_norm: num_groups must divide the {C} channels of x; got {groups}")
    check_parameters("group_norm", C, weight=weight, bias=bias)
    whole = x if pixels else op["reshape"](x, shape=(N, C, 1))
    rank = len(whole.shape)
    cut = groups if 1 < groups < C else 0  # else the statistics are of all channels, or of each: no dim is cut
    dims = tuple(range(1 if groups == 1 else 2, rank))
    y, _, _ = op["standardize"](widen(whole), dims=dims, eps=float(eps), **({"groups": cut} if cut else {}))
    y = narrow(_affine(y, weight, bias, (1, C, *(1,) * (rank - 2))), x)
    return y if pixels else op["reshape"](y, shape=(N, C))


def instance_norm(x: Any, weight: Any, bias: Any, mean: Any, var: Any, use_input_stats: bool, momentum: float, eps: float,
                  cudnn: bool = True) -> Any:  # fmt: skip
    """Source: Ulyanov et al. 2016, "Instance normalization: the missing ingredient for fast stylization"."""
    if not use_input_stats:
        return batch_norm_eval(x, weight, bias, mean, var, eps)
    if mean is not None:
        raise UnsupportedError("instance_norm that keeps running statistics")
    return instance_norm_train(x, weight, bias, None, None, momentum, eps)[0]


def instance_norm_train(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
) -> tuple[Any, Any, Any]:
    """(y, running mean, running variance), the latter two moved towards the samples' mean ones by ``momentum`` (or None)."""
    if len(x.shape) < 3:
        raise ShapeError(f"instance_norm: x must be [N, C, ...pixels]; got {list(x.shape)}")
    N, C, *pixels = x.shape
    count = math.prod(pixels)
    check_parameters("instance_norm", C, weight=weight, bias=bias, running_mean=mean, running_var=var)
    if count < 2:
        raise ShapeError(f"instance_norm: it needs more than 1 pixel per channel; x is {list(x.shape)}")
    y, means, variances = op["standardize"](widen(x), dims=tuple(range(2, len(x.shape))), eps=float(eps))
    y = narrow(_affine(y, weight, bias, (1, C, *(1,) * (len(x.shape) - 2))), x)
    if mean is None or not N:
        return y, mean, var

    def moved(old: Any, samples: Any, factor: float) -> Any:
        new = op["sum"](op["reshape"](samples, shape=(N, C)), dims=(0,)) * (momentum * factor / N)
        return narrow(widen(old) * (1 - momentum) + new, old)

    return y, moved(mean, means, 1.0), moved(var, variances, count / (count - 1))


def local_response_norm(x: Any, size: int, alpha: float, beta: float, k: float) -> Any:
    """x / (k + alpha * mean of x^2 over ``size`` channels around)^beta. Source: Krizhevsky et al. 2012, section 3.3."""
    if len(x.shape) < 3:
        raise ShapeError(f"local_response_norm: x must be [N, C, ...pixels]; got {list(x.shape)}")
    if size < 1:
        raise ShapeError(f"local_response_norm: size must be at least 1; got {size}")
    z = widen(x)
    numbers = (size, 1, size // 2, 1)
    mean = op["resample"](z * z, dim=1, size=x.shape[1], rule="average", numbers=numbers)
    return narrow(z * op["exp"](op["log"](mean * float(alpha) + float(k)) * -float(beta)), x)


def layer_norm(
    x: Any, shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn: bool = True
) -> Any:
    """Source: Ba et al. 2016, "Layer normalization"."""
    inner = tuple(shape)
    if not inner or tuple(x.shape[len(x.shape) - len(inner) :]) != inner:
        raise ShapeError(f"layer_norm: normalized_shape must be the last dims of x {list(x.shape)}; got {list(inner)}")
    for key, value in {"weight": weight, "bias": bias}.items():
        if value is not None and tuple(value.shape) != inner:
            raise ShapeError(
                f"layer_norm: {key} must be {list(inner)}, as normalized_shape is; got {list(value.shape)}"
            )
    rows = len(inner) == 1  # a matrix's rows have a kernel of their own
    flat = op["reshape"](x, shape=(math.prod(x.shape[:-1]), *inner)) if rows else x
    dims = tuple(range(len(flat.shape) - len(inner), len(flat.shape)))
    y, _, _ = op["standardize"](widen(flat), dims=dims, eps=float(eps))
    y = narrow(_affine(y, weight, bias, inner), x)
    return op["reshape"](y, shape=tuple(x.shape)) if rows else y


def native_batch_norm_eval(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
) -> tuple[Any, Refused, Refused]:
    saved = Refused("saved statistics of batch norm")
    return batch_norm_eval(x, weight, bias, mean, var, eps), saved, saved
