"""ATen's matrix products, reductions, views and losses in terms of our ops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.formulas.dtypes import FLOATS, cast, filled, narrow, result_dtype, widen
from tritoncnn.formulas.order import amax, amin
from tritoncnn.ops import OPS
from tritoncnn.ops.define import broadcast_shape
from tritoncnn.ops.table import table_for

op = OPS


def transpose(x: Any, a: int = 0, b: int = 1) -> Any:
    if not x.shape:
        return x
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


def bilinear(x: Any, z: Any, w: Any, b: Any = None) -> Any:
    """y[.., k] = sum over i, j of x[.., i] w[k, i, j] z[.., j], plus b[k]."""
    K, rows, columns = w.shape
    turned = op["reshape"](op["permute"](w, dims=(0, 2, 1)), shape=(K * columns, rows))
    left = op["reshape"](linear(x, turned), shape=(*x.shape[:-1], K, columns))
    y = op["sum"](left * op["reshape"](z, shape=(*z.shape[:-1], 1, columns)), dims=(len(x.shape),))
    return y if b is None else y + b


def cdist(x: Any, z: Any, p: float = 2.0, compute_mode: int | None = None) -> Any:
    """Norms of the differences of all rows of x [.., P, M] and z [.., R, M]; both ways of computing them are this one."""
    left = op["reshape"](x, shape=(*x.shape[:-1], 1, x.shape[-1]))
    right = op["reshape"](z, shape=(*z.shape[:-2], 1, *z.shape[-2:]))
    apart = op["sub"](left, right)  # [.., P, R, M], where one may have more dims in front than the other
    return vector_norm(apart, p, (len(apart.shape) - 1,))


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


def _kept(x: Any, y: Any, dims: tuple[int, ...], keepdim: bool) -> Any:
    """y, the result over ``dims`` of x, with these dims as 1 where they are to stay."""
    return op["reshape"](y, shape=tuple(1 if d in dims else n for d, n in enumerate(x.shape))) if keepdim else y


def total(x: Any, dims: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """sum, of all when dims is None; of whole numbers and truth values in i64."""
    wanted = result_dtype(dtype) or ("i64" if x.dtype not in FLOATS else x.dtype)
    x = cast(x, wanted if wanted in ("i64", "f32", "f16", "bf16") else "i64")
    if x.shape:
        dims = _dims(x, dims)
        x = _kept(x, op["sum"](x, dims=dims), dims, keepdim)
    return cast(x, wanted)


def sum_dims(x: Any, dims: Sequence[int] | None, *, output_dtype: Any = None) -> Any:
    """The sum in the dtype of x, or another one; over no dim where the list is empty."""
    y = x if dims is not None and not len(dims) else total(x, dims)
    return cast(y, result_dtype(output_dtype) or x.dtype)


def var_dims(x: Any, dims: Sequence[int] | None, correction: float | None = 1) -> Any:
    if dims is not None and not len(dims) and x.shape:
        raise UnsupportedError("a variance over no dims")
    return moments(x, dims, correction, False)[0]


def broadcast_in_dim(x: Any, shape: Sequence[int], dims: Sequence[int]) -> Any:
    """x in ``shape``, its dims at ``dims`` of it."""
    at = dict(zip(dims, x.shape, strict=True))
    y = op["reshape"](x, shape=tuple(at.get(d, 1) for d in range(len(shape))))
    return y if tuple(y.shape) == tuple(shape) else op["expand"](y, shape=tuple(shape))


def mean(x: Any, dims: Any = None, keepdim: bool = False, *, dtype: Any = None, among: Any = None) -> Any:
    """The mean; of the elements alone at which ``among``, truth values of x's rank that broadcast to x, holds."""
    x = cast(x, result_dtype(dtype) or x.dtype)
    if not x.shape:
        return x
    if among is not None:
        z = widen(x)
        return narrow(total(op["where"](among, z, 0.0), dims, keepdim) / _counted(x, dims, keepdim, among), x)
    count = math.prod(x.shape[d] for d in _dims(x, dims))
    return total(x, dims, keepdim) * (1 / count if count else math.nan)


def _counted(x: Any, dims: Any, keepdim: bool, among: Any) -> Any:
    """At how many elements of x ``among`` holds, over dims: f32."""
    each = math.prod(x.shape[d] for d in _dims(x, dims) if among.shape[d] == 1)
    return cast(total(among, dims, keepdim), "f32") * float(each)


def _moments(x: Any, dims: Any, correction: float | None, keepdim: bool, among: Any = None) -> tuple[Any, Any, Any]:
    """(variance of x / scale, scale, mean) over dims; the squares' sum is divided by the count less ``correction`` (1).

    The scale is the largest distance from the mean, so that no square overflows or vanishes where the result does not: torch
    adds up in f64. ``among``: only the elements count at which it holds.
    """
    average = mean(x, dims, True, among=among)
    apart = op["sub"](x, average)
    less = 1 if correction is None else correction
    count = math.prod(x.shape[d] for d in _dims(x, dims)) if x.shape else 1
    rest = max(count - less, 0)
    factor: Any = 1 / rest if rest else math.inf
    if among is not None:
        apart = op["where"](among, apart, 0.0)
        factor = op["reciprocal"](op["maximum"](_counted(x, dims, keepdim, among) - float(less), 0.0))
    scale = filled(average, 1.0)
    if 0 not in x.shape:
        size = amax(op["abs"](op["detach"](apart)), _dims(x, dims) if x.shape else (), True)
        scale = op["where"](op["bit_and"](size > 0.0, op["lt"](size, math.inf)), size, 1.0)
    apart = apart / scale
    variance = total(apart * apart, dims, keepdim) * factor
    if keepdim or not x.shape:
        return variance, scale, average
    return variance, *(op["reshape"](t, shape=tuple(variance.shape)) for t in (scale, average))


def moments(x: Any, dims: Any, correction: float | None, keepdim: bool, among: Any = None) -> tuple[Any, Any]:
    """(variance, mean) over dims."""
    variance, scale, average = _moments(x, dims, correction, keepdim, among)
    return variance * scale * scale, average


def deviations(x: Any, dims: Any, correction: float | None, keepdim: bool, among: Any = None) -> tuple[Any, Any]:
    """(standard deviation, mean) over dims."""
    variance, scale, average = _moments(x, dims, correction, keepdim, among)
    return root(variance) * scale, average


Both = Callable[[Any, Any, float | None, bool, Any], tuple[Any, Any]]


def over_dims(both: Both) -> Callable[..., tuple[Any, Any]]:
    """``moments`` or ``deviations`` with the arguments of var(x, dims, unbiased)."""

    def emit(
        x: Any, dims: Any = None, unbiased: bool = True, keepdim: bool = False, *, among: Any = None
    ) -> tuple[Any, Any]:
        if isinstance(dims, bool):  # var(x, unbiased)
            dims, unbiased = None, dims
        return both(x, dims, float(unbiased), keepdim, among)

    return emit


def with_correction(both: Both) -> Callable[..., tuple[Any, Any]]:
    def emit(
        x: Any, dims: Any = None, *, correction: float | None = None, keepdim: bool = False, among: Any = None
    ) -> tuple[Any, Any]:
        return both(x, dims, correction, keepdim, among)

    return emit


def first_of(both: Callable[..., tuple[Any, Any]]) -> Callable[..., Any]:
    """The variance, or deviation, alone."""
    return lambda *args, **kwargs: both(*args, **kwargs)[0]


def root(s: Any, power: float = 0.5) -> Any:
    """s ** power, whose gradient is 0 where s is 0, as torch has it for norms and deviations."""
    zero = op["eq"](s, 0.0)
    safe = op["where"](zero, 1.0, s)
    return op["where"](zero, 0.0, op["sqrt"](safe) if power == 0.5 else op["pow"](safe, power))


def vector_norm(x: Any, order: Any = 2, dims: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """(sum of |x| ** order) ** (1 / order) over dims; the largest or smallest |x| for infinite orders, a count for 0."""
    wanted = result_dtype(dtype) or x.dtype
    z, p = widen(cast(x, wanted)), float(2 if order is None else order)
    if math.isinf(p):
        y = (amax if p > 0 else amin)(op["abs"](z), dims, keepdim)
    elif p == 0:
        y = total(op["where"](op["ne"](z, 0.0), 1.0, z * 0.0), dims, keepdim)
    elif p == 1:
        y = total(op["abs"](z), dims, keepdim)
    elif math.prod(z.shape[d] for d in _dims(z, dims) if z.shape) == 1:  # of one number: no power that could overflow
        nothing = op["eq"](z, 0.0)
        y = total(op["where"](nothing, 0.0, op["hypot"](op["where"](nothing, 1.0, z), 0.0)), dims, keepdim)
    elif p == 2:
        y = root(total(z * z, dims, keepdim))
    else:
        y = root(total(root(op["abs"](z), p), dims, keepdim), 1 / p)
    return cast(y, wanted)


def pdist(x: Any, p: float = 2.0) -> Any:
    """Distances of the rows of x [N, M], each pair once: [N * (N - 1) / 2]. Raises ShapeError."""
    if len(x.shape) != 2:
        raise ShapeError(f"pdist: x must be [N, M]; got {list(x.shape)}")
    pairs = [(i, j) for i in range(x.shape[0]) for j in range(i + 1, x.shape[0])]
    first, second = (
        op["take"](x, table_for(x, [pair[side] for pair in pairs], (len(pairs), 1), "i64"), dim=0) for side in (0, 1)
    )
    return vector_norm(first - second, p, (1,))


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


def softmax(x: Any, dim: int, dtype: torch.dtype | None = None) -> Any:
    return _along_rows("softmax", cast(x, result_dtype(dtype) or x.dtype), dim)


def log_softmax(x: Any, dim: int, dtype: torch.dtype | None = None) -> Any:
    return _along_rows("log_softmax", cast(x, result_dtype(dtype) or x.dtype), dim)


def default_softmax(x: Any, dim: int, half_to_float: bool) -> Any:
    return softmax(cast(x, "f32") if half_to_float else x, dim)


def default_log_softmax(x: Any, dim: int, half_to_float: bool) -> Any:
    return log_softmax(cast(x, "f32") if half_to_float else x, dim)
