"""ATen's matrix products, reductions, views and losses in terms of our ops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tritoncnn.capture.emit_pointwise import as_float
from tritoncnn.errors import UnsupportedError
from tritoncnn.ops import OPS, Sym
from tritoncnn.ops.define import broadcast_shape

op = OPS


def transpose(x: Any, a: int = 0, b: int = 1) -> Any:
    dims = list(range(len(x.shape)))
    dims[a], dims[b] = dims[b], dims[a]
    return op["permute"](x, dims=tuple(dims)) if dims else x


def t(x: Any) -> Any:
    return transpose(x) if len(x.shape) == 2 else x


def permute(x: Any, dims: Sequence[int]) -> Any:
    return op["permute"](x, dims=tuple(d % len(x.shape) for d in dims))


def matmul(a: Any, b: Any) -> Any:
    """[..., M, K] @ [K, N]: leading dims join the rows."""
    if len(b.shape) != 2 or len(a.shape) < 1:
        raise UnsupportedError(f"a matrix product of {list(a.shape)} and {list(b.shape)}: the second must be 2-d")
    if len(a.shape) == 2:
        return op["matmul"](a, b)
    rows = op["reshape"](a, shape=(math.prod(a.shape[:-1]), a.shape[-1]))
    return op["reshape"](op["matmul"](rows, b), shape=(*a.shape[:-1], b.shape[1]))


def linear(x: Any, w: Any, b: Any = None) -> Any:
    """The bias is added to the matrix, before rows are split again, so that it stays with the product."""
    rows = x if len(x.shape) == 2 else op["reshape"](x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))
    y = op["matmul"](rows, transpose(w))
    y = y if b is None else y + b
    return y if len(x.shape) == 2 else op["reshape"](y, shape=(*x.shape[:-1], w.shape[0]))


def addmm(b: Any, x: Any, w: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    y = op["matmul"](x, w)
    y = y if alpha == 1 else y * float(alpha)
    return y + (b if beta == 1 else b * float(beta))


def broadcast_tensors(tensors: Sequence[Any]) -> tuple[Any, ...]:
    shape = broadcast_shape(*(x.shape for x in tensors))
    return tuple(x if x.shape == shape else op["expand"](x, shape=shape) for x in tensors)


def _dims(x: Any, dims: int | Sequence[int] | None) -> tuple[int, ...]:
    """Ascending, not negative; None and [] mean all."""
    wanted = [dims] if isinstance(dims, int) else list(dims or range(len(x.shape)))
    return tuple(sorted(d % max(len(x.shape), 1) for d in wanted))


def total(x: Any, dims: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """sum, of all when dims is None."""
    x = as_float(x)
    if not x.shape:
        return x
    dims = _dims(x, dims)
    y = op["sum"](x, dims=dims)
    return op["reshape"](y, shape=tuple(1 if d in dims else n for d, n in enumerate(x.shape))) if keepdim else y


def mean(x: Any, dims: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    if not x.shape:
        return x
    count = math.prod(x.shape[d] for d in _dims(x, dims))
    return total(x, dims, keepdim) * (1 / count if count else math.nan)


def softmax(x: Any, dim: int, dtype: Any = None) -> Any:
    """Over the last dim; leading dims join the rows."""
    if not x.shape or dim % len(x.shape) != len(x.shape) - 1:
        raise UnsupportedError(f"softmax of {list(x.shape)} over dim {dim}: it must be the last")
    if len(x.shape) == 2:
        return op["softmax"](x)
    rows = op["reshape"](x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))
    return op["reshape"](op["softmax"](rows), shape=tuple(x.shape))


def default_softmax(x: Any, dim: int, half_to_float: bool) -> Any:
    return softmax(x, dim)


@dataclass(frozen=True)
class LogSoftmax:
    """log_softmax(logits, 1), which only nll_loss may read: together they are cross_entropy."""

    logits: Sym
    why: str = "log_softmax that is not followed by nll_loss"


def log_softmax(x: Any, dim: int, dtype: Any = None) -> Any:
    if len(x.shape) != 2 or dim % 2 != 1:
        raise UnsupportedError(f"log_softmax of {list(x.shape)} over dim {dim}")
    return LogSoftmax(x)


def cross_entropy(logits: Any, target: Any, weight: Any = None, reduction: int = 1, ignore_index: int = -100,
                  label_smoothing: float = 0.0) -> Any:  # fmt: skip
    """Only the mean over all targets; torch's default ignore_index -100 is no class, so no target may be ignored."""
    asked = {
        "class weights": weight is not None,
        "a reduction other than the mean": reduction != 1,
        "ignore_index": ignore_index != -100,
        "label smoothing": label_smoothing != 0.0,
        "class probabilities as target": target.dtype != "i64",
        f"logits {list(logits.shape)}": len(logits.shape) != 2,
    }
    refused = [name for name, present in asked.items() if present]
    if refused:
        raise UnsupportedError(f"cross entropy with {' and '.join(refused)}")
    return op["cross_entropy"](logits, target)[0]


def nll_loss(x: Any, target: Any, weight: Any = None, reduction: int = 1, ignore_index: int = -100) -> Any:
    if not isinstance(x, LogSoftmax):
        raise UnsupportedError("nll_loss that does not follow log_softmax")
    return cross_entropy(x.logits, target, weight, reduction, ignore_index)


def _reduced(y: Any, reduction: int) -> Any:
    return (y, mean(y), total(y))[reduction] if reduction else y


def mse_loss(a: Any, b: Any, reduction: int = 1) -> Any:
    difference = a - b
    return _reduced(difference * difference, reduction)


def l1_loss(a: Any, b: Any, reduction: int = 1) -> Any:
    return _reduced(op["abs"](a - b), reduction)
