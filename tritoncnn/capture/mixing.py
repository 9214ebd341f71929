"""Selections x[mask] in products, as rows that pick, and written back into a tensor by their own mask."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

from torch.utils._pytree import tree_map

from tritoncnn.capture.selected import Call, Selection, alike, results_of
from tritoncnn.formulas.dtypes import cast
from tritoncnn.formulas.logic import where
from tritoncnn.ops import OPS, Sym

PRODUCTS = frozenset({"matmul.default", "mm.default", "bmm.default", "einsum.default"})
PICKS = frozenset({"index.Tensor", "index_select.default"})


def product(call: Call) -> Any:
    """A sum of products: of each place where the result runs over what is selected, else over what is selected."""
    operands, terms, result = _einsum(call) if call.packet == "einsum" else _matmul(call.args)
    chosen = [(x, term) for x, term in zip(operands, terms, strict=True) if isinstance(x, Selection)]
    letters = {term[x.dim] for x, term in chosen}
    if len(letters) > 1:
        raise call.refuse("which meets one that is selected along another dim")
    (letter,) = letters
    inside = letter not in result

    def whole(x: Any) -> Any:
        return x if not isinstance(x, Selection) else x.filled(0) if inside else x.cleaned().whole

    found = call.run(*tree_map(whole, call.args, is_leaf=lambda x: isinstance(x, (Sym, Selection))), **call.kwargs)
    if inside:
        return found
    first, _ = chosen[0]
    return results_of(call, first, found).cleaned()  # its gradient meets the other operand's


def _einsum(call: Call) -> tuple[Sequence[Any], list[str], str]:
    equation, operands = call.args[:2]
    left, arrow, result = equation.replace(" ", "").partition("->")
    if "." in equation or not arrow:
        raise call.refuse("whose equation names not all dims, and those of the result")
    return operands, left.split(","), result


def _matmul(args: Sequence[Any]) -> tuple[Sequence[Any], list[str], str]:
    """The operands of a product of matrices, vectors or batches, with a letter for each dim; those of the result."""
    a, b = (len(x.shape) for x in args[:2])
    batch = string.ascii_uppercase[: max(a, b, 2) - 2]
    left = batch[len(batch) - max(a - 2, 0) :] + "mk"[-min(a, 2) :]
    right = batch[len(batch) - max(b - 2, 0) :] + "kn"[: min(b, 2)]
    return args[:2], [left, right], batch + "m" * (a > 1) + "n" * (b > 1)


def picked(call: Call, like: Selection) -> Selection:
    """Rows of a whole tensor that a selection of numbers names."""
    x, *rest = call.args
    places = rest[-1] if call.name == "index_select.default" else rest[0][0] if len(rest[0]) == 1 else None
    if isinstance(x, Selection) or places is not like or len(like.shape) != 1 or like.dtype == "i1":
        raise call.refuse("which names places among others")
    at = like.cleaned().whole
    found: Selection = results_of(call, like, call.run(x, *rest[:-1], at if places is rest[-1] else [at]))
    return found.cleaned()


def put(call: Call) -> Any:
    """x[mask] = a selection by the same mask, or added to what is there."""
    x, indices, value, *rest = call.args
    dim = next((i for i, one in enumerate(indices) if one is not None), 0)
    mask, *more = indices[dim:]
    if not isinstance(value, Selection) or isinstance(x, Selection) or more or mask.dtype != "i1":
        raise call.refuse("at places that are not those of one mask")
    places, behind = math.prod(mask.shape), x.shape[dim + len(mask.shape) :]
    if not alike(OPS["reshape"](mask, shape=(places,)), value.mask):
        raise call.refuse("by another mask")
    if value.dim != dim or value.whole.shape != (*x.shape[:dim], places, *behind):
        raise call.refuse("of other sizes")
    chosen = OPS["reshape"](mask, shape=(*(1 for _ in range(dim)), *mask.shape, *(1 for _ in behind)))
    new = cast(OPS["reshape"](value.whole, shape=tuple(x.shape)), x.dtype)
    return where(chosen, x + new if rest and rest[0] else new, x)
