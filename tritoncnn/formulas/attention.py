"""Attention in terms of our ops: two products of batches of matrices around a softmax."""

from __future__ import annotations

import math
from typing import Any

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.formulas.dtypes import narrow, widen
from tritoncnn.formulas.matrix import matmul, softmax, transpose
from tritoncnn.ops import OPS
from tritoncnn.ops.table import table_for

op = OPS


def _repeated(x: Any, heads: int) -> Any:
    """Each head of x [.., h, S, E] as often, one after another, as makes ``heads``."""
    *lead, h, S, E = x.shape
    if h < 1 or heads % h:
        raise ShapeError(
            f"scaled_dot_product_attention: the {heads} heads of query must be a multiple of those of key and value; got {h}"
        )
    y = op["expand"](op["reshape"](x, shape=(*lead, h, 1, S, E)), shape=(*lead, h, heads // h, S, E))
    return op["reshape"](y, shape=(*lead, heads, S, E))


def _masked(scores: Any, mask: Any, is_causal: bool) -> tuple[Any, Any]:
    """(scores with -inf where nothing may be seen, the mask of truth values or None)."""
    L, S = scores.shape[-2:]
    if is_causal:
        if mask is not None:
            raise UnsupportedError("scaled_dot_product_attention with both attn_mask and is_causal")
        mask = table_for(scores, [int(j <= i) for i in range(L) for j in range(S)], (L, S), "i1")
    if mask is None:
        return scores, None
    if mask.dtype != "i1":
        return scores + widen(mask), None
    return op["where"](mask, scores, -math.inf), mask


def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    *, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """softmax(query key^T scale + mask) value, for query [.., L, E], key [.., S, E], value [.., S, Ev].

    A row of which nothing may be seen is 0. Source: Vaswani et al. 2017, "Attention is all you need", equation 1.
    """
    if dropout_p:
        raise UnsupportedError(
            "dropout inside scaled_dot_product_attention; give dropout_p=0.0 and apply dropout after it"
        )
    if enable_gqa:
        key, value = _repeated(key, query.shape[-3]), _repeated(value, query.shape[-3])
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    scores, mask = _masked(widen(matmul(query, transpose(key, -2, -1))) * factor, attn_mask, is_causal)
    if mask is None:
        return matmul(narrow(softmax(scores, -1), query), value)
    # Softmax sees no row of -inf alone, whose gradient would be NaN.
    seen = op["sum"](op["cast_f32"](mask), dims=(len(mask.shape) - 1,))
    blind = op["eq"](op["reshape"](seen, shape=(*mask.shape[:-1], 1)), 0.0)
    weights = op["where"](blind, 0.0, softmax(op["where"](blind, 0.0, scores), -1))
    return matmul(narrow(weights, query), value)
