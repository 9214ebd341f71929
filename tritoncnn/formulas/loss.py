"""ATen's losses, and a few that torch lacks, in terms of our ops. Computed in f32, answered in the input's dtype."""

from __future__ import annotations

import math
from typing import Any

from tritoncnn.errors import InputError, ShapeError
from tritoncnn.formulas.dtypes import cast, narrow, widen
from tritoncnn.formulas.index import gather
from tritoncnn.formulas.matrix import log_softmax, mean, total
from tritoncnn.formulas.pointwise import log_one_plus_exp
from tritoncnn.formulas.running import cumsum
from tritoncnn.ops import OPS
from tritoncnn.ops.table import table_for

op = OPS


def _same(name: str, x: Any, target: Any) -> None:
    if tuple(x.shape) != tuple(target.shape):
        raise ShapeError(f"{name}: target must be {list(x.shape)}, as input is; got {list(target.shape)}")


def _broadcasts(name: str, key: str, x: Any, value: Any) -> None:
    """Raises ShapeError unless x and ``value`` broadcast together."""
    pairs = zip(reversed(x.shape), reversed(value.shape), strict=False)
    if any(a != b and 1 not in (a, b) for a, b in pairs):
        raise ShapeError(f"{name}: {key} must broadcast with input {list(x.shape)}; got {list(value.shape)}")


def _difference(name: str, x: Any, target: Any) -> Any:
    _broadcasts(name, "target", x, target)
    return widen(x) - widen(target)


def reduced(y: Any, reduction: int) -> Any:
    """0: each element's loss, 1: the mean, 2: the sum. Torch's numbers."""
    return (y, mean(y), total(y))[reduction] if reduction else y


def mse_loss(x: Any, target: Any, reduction: int = 1) -> Any:
    difference = _difference("mse_loss", x, target)
    return narrow(reduced(difference * difference, reduction), x)


def l1_loss(x: Any, target: Any, reduction: int = 1) -> Any:
    return narrow(reduced(op["abs"](_difference("l1_loss", x, target)), reduction), x)


def smooth_l1_loss(x: Any, target: Any, reduction: int = 1, beta: float = 1.0) -> Any:
    """Source: Girshick 2015, "Fast R-CNN", equation 3."""
    if beta < 0:
        raise InputError(f"smooth_l1_loss: beta must not be negative; got {beta}")
    if beta == 0:
        return l1_loss(x, target, reduction)
    d = _difference("smooth_l1_loss", x, target)
    a = op["abs"](d)
    far = op["ge"](a, float(beta))
    near = op["where"](far, 0.0, d)  # whose square is finite, and so its gradient, where that of the other part counts
    return narrow(reduced(op["where"](far, a - 0.5 * beta, near * near * (0.5 / beta)), reduction), x)


def huber_loss(x: Any, target: Any, reduction: int = 1, delta: float = 1.0) -> Any:
    """Source: Huber 1964, "Robust estimation of a location parameter"."""
    if delta <= 0:
        raise InputError(f"huber_loss: delta must be above 0; got {delta}")
    d = _difference("huber_loss", x, target)
    a = op["abs"](d)
    far = a > float(delta)
    near = op["where"](far, 0.0, d)
    return narrow(reduced(op["where"](far, (a - 0.5 * delta) * delta, near * near * 0.5), reduction), x)


def bce_with_logits(x: Any, target: Any, weight: Any = None, pos_weight: Any = None, reduction: int = 1) -> Any:
    """-(t log s + (1 - t) log(1 - s)) with s = sigmoid(x), as (1 - t) x + log(1 + exp(-x)): stable for all x."""
    _same("binary_cross_entropy_with_logits", x, target)
    for key, value in {"weight": weight, "pos_weight": pos_weight}.items():
        if value is not None:
            _broadcasts("binary_cross_entropy_with_logits", key, x, value)
    z, t = widen(x), widen(target)
    soft = log_one_plus_exp(-z)  # -log s
    if pos_weight is not None:
        soft = soft * ((widen(pos_weight) - 1.0) * t + 1.0)
    y = (1.0 - t) * z + soft
    return narrow(reduced(y if weight is None else y * widen(weight), reduction), x)


def binary_cross_entropy(x: Any, target: Any, weight: Any = None, reduction: int = 1) -> Any:
    """-(t log x + (1 - t) log(1 - x)) of probabilities; no logarithm is below -100, no slope steeper than 1e12, as in torch."""
    _same("binary_cross_entropy", x, target)
    p, t = widen(x), widen(target)
    y = -(t * _bounded_log(p) + (1.0 - t) * _bounded_log(1.0 - p))
    return narrow(reduced(y if weight is None else y * widen(weight), reduction), x)


def _bounded_log(p: Any) -> Any:
    """log p, at least -100; its gradient is that of log(max(p, 1e-12)), with 1 for that of the maximum."""
    floor = op["maximum"](p, 1e-12)
    smooth = op["log"](p + op["detach"](floor - p))
    return smooth + op["detach"](op["maximum"](op["log"](p), -100.0) - smooth)


def focal_loss(x: Any, target: Any, alpha: float, gamma: float, reduction: int) -> Any:
    """Of logits x and targets in [0, 1]. Source: Lin et al. 2017, "Focal loss for dense object detection", equation 5."""
    _same("focal_loss", x, target)
    if gamma < 0:
        raise InputError(f"focal_loss: gamma must not be negative; got {gamma}")
    z, t = widen(x), widen(target)
    entropy = (1.0 - t) * z + log_one_plus_exp(-z)
    s = op["sigmoid"](z)
    missed = s * (1.0 - t) + (1.0 - s) * t  # 1 - p_t
    y = entropy * power(missed, gamma)
    if alpha >= 0:
        y = y * (t * alpha + (1.0 - t) * (1.0 - alpha))
    return narrow(reduced(y, reduction), x)


def power(x: Any, exponent: float) -> Any:
    """x ** exponent for x in (0, 1]: products for small whole exponents, else exp(exponent * log x)."""
    if exponent == 0:
        return 1.0
    if exponent == int(exponent) and exponent <= 4:
        y = x
        for _ in range(int(exponent) - 1):
            y = y * x
        return y
    return op["exp"](op["log"](x) * float(exponent))


def dice_loss(x: Any, target: Any, smooth: float) -> Any:
    """1 - (2 sum(x t) + smooth) / (sum x + sum t + smooth), per sample, averaged; x are probabilities [N, ...].

    Source: Milletari et al. 2016, "V-Net", section 3, with plain sums in the denominator.
    """
    _same("dice_loss", x, target)
    p, t = widen(x), widen(target)
    dims = tuple(range(1, len(x.shape)))
    if not dims:
        raise ShapeError(f"dice_loss: input must be [N, ...]; got {list(x.shape)}")
    overlap = op["sum"](p * t, dims=dims)
    sizes = op["sum"](p + t, dims=dims)
    return narrow(mean(1.0 - (2.0 * overlap + smooth) / (sizes + smooth)), x)


def total_variation(x: Any, reduction: int) -> Any:
    """Sum of the absolute differences of neighbours in height and width, over all dims (or its mean per element of x).

    Source: Rudin, Osher & Fatemi 1992, anisotropic; in style transfer since Mahendran & Vedaldi 2015.
    """
    if len(x.shape) != 4:
        raise ShapeError(f"total_variation: x must be [N, C, H, W]; got {list(x.shape)}")
    z = widen(x)
    down = op["abs"](crop(z, (1, 0, 0, 0)) - crop(z, (0, 1, 0, 0)))
    right = op["abs"](crop(z, (0, 0, 1, 0)) - crop(z, (0, 0, 0, 1)))
    y = total(down) + total(right)
    return narrow(y * (1 / max(math.prod(x.shape), 1)) if reduction == 1 else y, x)


def crop(x: Any, edges: tuple[int, int, int, int]) -> Any:
    """x without (top, bottom, left, right) pixels."""
    return op["pad2d"](x, padding=tuple(-n for n in edges))


def classes(what: str, target: Any, count: int, ignore_index: int) -> Any:
    """``target``, which must hold numbers of so many classes, or ``ignore_index``."""
    return op["within"](target, what=what, low=0, high=count, but=ignore_index)


def cross_entropy(logits: Any, target: Any, weight: Any = None, reduction: int = 1, ignore_index: int = -100,
                  label_smoothing: float = 0.0) -> Any:  # fmt: skip
    """Logits [N, C, ...] and class numbers [N, ...], or probabilities [N, C, ...]. Source of smoothing: Szegedy et al. 2016."""
    if not 0 <= label_smoothing <= 1:
        raise InputError(f"cross_entropy: label_smoothing must lie in 0..1; got {label_smoothing}")
    rank = len(logits.shape)
    if rank < 1:
        raise ShapeError(f"cross_entropy: input must be [N, C, ...]; got {list(logits.shape)}")
    if rank == 1:  # one sample
        logits, target = (
            op["reshape"](logits, shape=(1, *logits.shape)),
            op["reshape"](target, shape=(1, *target.shape)),
        )
    soft = tuple(target.shape) == tuple(logits.shape) and target.value.type.is_float
    labels = (logits.shape[0], *logits.shape[2:])
    if not soft and tuple(target.shape) != labels:
        raise ShapeError(
            f"cross_entropy: target must be {list(labels)} class numbers, or {list(logits.shape)} probabilities; "
            f"got {list(target.shape)}"
        )
    if weight is not None and tuple(weight.shape) != (logits.shape[1],):
        raise ShapeError(
            f"cross_entropy: weight must be [{logits.shape[1]}], one number per class; got {list(weight.shape)}"
        )
    if not soft:
        target = classes("cross_entropy", target, logits.shape[1], ignore_index)
    plain = weight is None and reduction == 1 and label_smoothing == 0
    if plain and not soft and len(logits.shape) == 2 and logits.dtype == "f32":
        return op["cross_entropy"](logits, target, ignore_index=ignore_index)[0]
    y = nll(log_softmax(widen(logits), 1), target, weight, reduction, ignore_index, label_smoothing)
    return narrow(op["reshape"](y, shape=()) if rank == 1 else y, logits)


def nll_loss(x: Any, target: Any, weight: Any = None, reduction: int = 1, ignore_index: int = -100) -> Any:
    """x are log-probabilities [N, C, ...], or [C] of one sample."""
    if len(x.shape) == 1:
        one = nll_loss(
            op["reshape"](x, shape=(1, *x.shape)), op["reshape"](target, shape=(1,)), weight, reduction, ignore_index
        )
        return op["reshape"](one, shape=())
    target = classes("nll_loss", target, x.shape[1], ignore_index)
    return narrow(nll(widen(x), target, weight, reduction, ignore_index, 0.0), x)


def nll(x: Any, target: Any, weight: Any, reduction: int, ignore_index: int, smoothing: float) -> Any:
    """-sum_c a[n,c] x[n,c] for log-probabilities x: a = weight[c] * ((1 - smoothing) * (c == target[n]) + smoothing / C).

    The mean divides by the weights of the targets that count, or by the number of samples for soft targets. A class
    number out of range, unless it is ``ignore_index``, makes the loss NaN.
    """
    C, ones = x.shape[1], (1,) * (len(x.shape) - 2)
    w = None if weight is None else op["reshape"](widen(weight), shape=(1, C, *ones))
    if target.value.type.is_float:
        a = widen(target) if smoothing == 0 else widen(target) * (1 - smoothing) + smoothing / C
        loss = -(x * a if w is None else x * a * w)
        count: Any = float(math.prod(x.shape) // C)
    else:
        label = op["reshape"](target, shape=(target.shape[0], 1, *target.shape[1:]))
        hot = op["eq"](table_for(x, range(C), (1, C, *ones), "i64"), label)
        counts = op["ne"](label, float(ignore_index))
        wx = x if w is None else x * w
        picked = op["where"](hot, wx, 0.0)
        if smoothing:
            picked = picked * (1 - smoothing) + wx * (smoothing / C)
        legal = op["where"](label < 0, math.nan, op["where"](op["ge"](label, float(C)), math.nan, -picked))
        loss = op["where"](counts, legal, 0.0)
        heavy = op["cast_f32"](hot) if w is None else op["where"](hot, w, 0.0)
        count = total(op["where"](counts, heavy, 0.0)) if reduction == 1 else None
    if reduction == 0:
        return op["sum"](loss, dims=(1,))
    return total(loss) if reduction == 2 else total(loss) / count


def gram_matrix(x: Any) -> Any:
    """G[n] = F F^T / (C H W), F = x[n] as [C, H W]. Source: Gatys et al. 2016, "Image style transfer using CNNs", eq. 3."""
    if len(x.shape) < 3:
        raise ShapeError(f"gram_matrix: x must be [N, C, ...pixels]; got {list(x.shape)}")
    N, C, *pixels = x.shape
    if N != 1:
        raise ShapeError(f"gram_matrix: one picture at a time; got N = {N}")
    F = op["reshape"](x, shape=(C, math.prod(pixels)))
    G = op["matmul"](F, op["permute"](F, dims=(1, 0))) * (1 / max(math.prod(x.shape[1:]), 1))
    return op["reshape"](G, shape=(1, C, C))


def multilabel_margin_loss(x: Any, target: Any, reduction: int = 1) -> Any:
    """Mean over classes of max(0, 1 - x[label] + x[k]) for all labels of a sample and all k that are none of them.

    x is [N, C] or [C]; the labels of a sample are those of target before its first -1. (torch's formula, in
    torch._decomp, counts class 0 for each place behind.)
    """
    _same("multilabel_margin_loss", x, target)
    if len(x.shape) > 2:
        raise ShapeError(f"multilabel_margin_loss: input must be [N, C] or [C]; got {list(x.shape)}")
    N, C = (1, 1, *x.shape)[-2:]
    z, labels = op["reshape"](widen(x), shape=(N, C)), op["reshape"](target, shape=(N, C))
    valid = op["eq"](cumsum(cast(op["eq"](labels, -1), "i64"), 1), 0)
    label = op["where"](valid, labels, table_for(labels, (0,), (), labels.dtype))
    valid = op["reshape"](valid, shape=(N, C, 1))
    classes = op["eq"](op["reshape"](label, shape=(N, C, 1)), table_for(labels, range(C), (C,), labels.dtype))
    named = op["sum"](op["cast_f32"](op["bit_and"](classes, valid)), dims=(1,)) > 0.0
    counts = op["bit_and"](valid, op["reshape"](op["bit_not"](named), shape=(N, 1, C)))
    chosen = op["reshape"](gather(z, 1, label), shape=(N, C, 1))
    each = op["relu"](op["reshape"](z, shape=(N, 1, C)) + 1.0 - chosen)
    y = op["sum"](op["where"](counts, each, 0.0), dims=(1, 2)) * (1.0 / C)
    y = y if len(x.shape) == 2 else op["reshape"](y, shape=())
    return narrow(reduced(y, reduction), x)
