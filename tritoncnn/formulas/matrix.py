"""ATen's matrix products, reductions, views and losses in terms of our ops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.formulas.pointwise import as_float
from tritoncnn.ops import IR_DTYPE, OPS
from tritoncnn.ops.define import broadcast_shape

op = OPS


def transpose(x: Any, a: int = 0, b: int = 1) -> Any:
    dims = list(range(len(x.shape)))
    dims[a], dims[b] = dims[b], dims[a]
    return op["permute"](x, dims=tuple(dims)) if dims else x


def t(x: Any) -> Any:
    return transpose(x) if len(x.shape) == 2 else x


def matrix_transpose(x: Any) -> Any:
    return transpose(x, -2, -1)


def permute(x: Any, dims: Sequence[int]) -> Any:
    return op["permute"](x, dims=tuple(d % len(x.shape) for d in dims))


def matmul(a: Any, b: Any) -> Any:
    """torch.matmul: vectors become rows and columns, leading dims of several matrices broadcast.

    One matrix on the right takes all rows of the left at once.
    """
    if not a.shape or not b.shape:
        raise ShapeError(f"matmul: both operands must have at least 1 dim; got {list(a.shape)} and {list(b.shape)}")
    row, column = len(a.shape) == 1, len(b.shape) == 1
    a = op["reshape"](a, shape=(1, *a.shape)) if row else a
    b = op["reshape"](b, shape=(*b.shape, 1)) if column else b
    lead = broadcast_shape(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    if len(b.shape) == 2:
        rows = a if len(a.shape) == 2 else op["reshape"](a, shape=(math.prod(a.shape[:-1]), a.shape[-1]))
        y = op["matmul"](rows, b)
    else:
        y = op["matmul"](a, b)
    shape = (*lead, *(() if row else a.shape[-2:-1]), *(() if column else b.shape[-1:]))
    return y if tuple(y.shape) == shape else op["reshape"](y, shape=shape)


def linear(x: Any, w: Any, b: Any = None) -> Any:
    """The bias is added to the matrix, before rows are split again, so that it stays with the product."""
    if b is not None and tuple(b.shape) != (w.shape[0],):
        raise ShapeError(f"linear: bias must be [{w.shape[0]}], one number per row of weight; got {list(b.shape)}")
    rows = x if len(x.shape) == 2 else op["reshape"](x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))
    y = op["matmul"](rows, transpose(w))
    y = y if b is None else y + b
    return y if len(x.shape) == 2 else op["reshape"](y, shape=(*x.shape[:-1], w.shape[0]))


def addmm(b: Any, x: Any, w: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta b + alpha x w, for matrices, and for batches of them; b broadcasts, and is not read where beta is 0."""
    y = matmul(x, w)
    y = y if alpha == 1 else y * float(alpha)
    return y if beta == 0 else y + (b if beta == 1 else b * float(beta))


def addbmm(b: Any, x: Any, y: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta b + alpha times the sum of the products x[i] y[i]: one product, the batch joining what is summed."""
    rows = op["reshape"](op["permute"](x, dims=(1, 0, 2)), shape=(x.shape[1], x.shape[0] * x.shape[2]))
    columns = op["reshape"](y, shape=(y.shape[0] * y.shape[1], y.shape[2]))
    return addmm(b, rows, columns, beta=beta, alpha=alpha)


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


def _along_rows(name: str, x: Any, dim: int) -> Any:
    """Op ``name``, which works on the rows of a matrix, over any dim."""
    rank = len(x.shape)
    if not -max(rank, 1) <= dim < max(rank, 1):
        raise ShapeError(
            f"{name}: dim must lie in {-max(rank, 1)}..{max(rank, 1) - 1} for x {list(x.shape)}; got {dim}"
        )
    if not x.shape:
        return op["reshape"](op[name](op["reshape"](x, shape=(1, 1))), shape=())
    if 0 in x.shape:  # nothing to compute, of the right shape
        return x * 1.0
    last = (*(d for d in range(rank) if d != dim % rank), dim % rank)
    back = tuple(last.index(d) for d in range(rank))
    turned = op["permute"](x, dims=last)
    rows = op["reshape"](turned, shape=(math.prod(turned.shape[:-1]), turned.shape[-1]))
    return op["permute"](op["reshape"](op[name](rows), shape=tuple(turned.shape)), dims=back)


def _cast(name: str, x: Any, dtype: torch.dtype | None) -> Any:
    """x as ``dtype``, None as it is. Raises UnsupportedError for one that is not f32, bf16 or f16."""
    wanted = None if dtype is None else IR_DTYPE.get(dtype, "")
    if wanted not in (None, "f32", "bf16", "f16"):
        raise UnsupportedError(f"{name}: dtype must be torch.float32, torch.bfloat16 or torch.float16; got {dtype}")
    return x if wanted in (None, x.dtype) else op[f"cast_{wanted}"](x)


def softmax(x: Any, dim: int, dtype: torch.dtype | None = None) -> Any:
    return _along_rows("softmax", _cast("softmax", x, dtype), dim)


def log_softmax(x: Any, dim: int, dtype: torch.dtype | None = None) -> Any:
    return _along_rows("log_softmax", _cast("log_softmax", x, dtype), dim)


def default_softmax(x: Any, dim: int, half_to_float: bool) -> Any:
    return softmax(x, dim)


def default_log_softmax(x: Any, dim: int, half_to_float: bool) -> Any:
    return log_softmax(x, dim)
