"""x[mask], whose size data decide, in a graph of fixed sizes: all places, and which of them are selected.

What works on each place alone works on all of them, what sums over places sums over those where the mask holds, and a
selection is no tensor by itself: what would need one is refused. What stands at other places counts for nothing: it is put away
before it may meet what is selected, forwards and backwards. The gradient of 0 * (what is infinite) would be NaN, so the numbers
are exchanged for harmless ones before an op in which places meet something with a gradient of its own, not after it alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from tritoncnn.capture.kinds import EXPANDS, FILLS, IDENTITIES, RESHAPES
from tritoncnn.capture.mixing import PICKS, PRODUCTS, picked, product, put
from tritoncnn.capture.selected import (
    ADVICE,
    Call,
    Selection,
    alike,
    in_line,
    place_of,
    results_of,
    selections,
    shown_as,
)
from tritoncnn.capture.selecting import SELECTED, SELECTION
from tritoncnn.errors import UnsupportedError
from tritoncnn.formulas.dtypes import FLOATS, cast, filled, promoted
from tritoncnn.formulas.logic import where
from tritoncnn.formulas.matrix import mean, total
from tritoncnn.formulas.refused import Refused
from tritoncnn.ops import IR_DTYPE, OPS, TORCH_DTYPE, Sym

ON_EACH = frozenset({  # what torch has no tag for: ops on each element, with broadcasting
    "rsub.Tensor", "rsub.Scalar", "floor_divide.default", "floor_divide.Scalar", "special_xlogy.default",
    "special_xlogy.self_scalar", "special_xlogy.other_scalar", "special_logit.default", "special_sinc.default", "__and__.Tensor",
    "__and__.Scalar", "__or__.Tensor", "__or__.Scalar", "__xor__.Tensor", "__xor__.Scalar", "where.ScalarSelf",
    "where.ScalarOther", "where.Scalar", "special_erfc.default", "hardswish.default", "log_sigmoid.default", "masked_fill.Tensor",
    "broadcast_tensors.default",
})  # fmt: skip
LOSSES = frozenset({  # on each element; then their mean or sum
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
})  # fmt: skip
CLASSES = frozenset({"cross_entropy_loss", "nll_loss", "nll_loss_nd"})  # which name a class number that does not count
ALONG = frozenset({  # ops that work along the dims which their argument dim names
    "softmax", "log_softmax", "_softmax", "_log_softmax", "sum", "mean", "amax", "amin", "max", "min", "argmax", "argmin", "prod",
    "any", "all", "count_nonzero", "var", "std", "var_mean", "std_mean", "linalg_vector_norm", "norm", "logsumexp", "cumsum",
    "cumprod", "cummax", "cummin", "logcumsumexp", "sort", "argsort", "topk", "kthvalue", "median", "select", "slice", "narrow",
    "unbind", "split", "split_with_sizes", "chunk", "gather", "index_select", "cat", "stack",
})  # fmt: skip
MOVES = frozenset({"t.default", "numpy_T.default", "mT.default", "transpose.int", "permute.default"})
# Op -> how many last dims of the one selection among its arguments it mixes.
LAST: dict[str, Callable[[Sequence[Any]], int]] = {
    "linear.default": lambda args: 1,
    "layer_norm.default": lambda args: len(args[1]),
    "embedding.default": lambda args: 0,
    "batch_norm.default": lambda args: len(args[0].shape) - 1,
    "group_norm.default": lambda args: len(args[0].shape) - 1,
    **dict.fromkeys(("conv1d.default", "conv2d.default", "conv3d.default"), lambda args: len(args[0].shape) - 1),
    **dict.fromkeys(("max_pool2d.default", "avg_pool2d.default", "adaptive_avg_pool2d.default"), lambda args: 2),
    "one_hot.default": lambda args: 0,
}
# Reduction -> the number that changes nothing in it, from dtype and arguments.
NEUTRAL: dict[str, Callable[[str, Sequence[Any]], float]] = {
    "sum": lambda dtype, args: 0,
    "count_nonzero": lambda dtype, args: 0,
    "any": lambda dtype, args: 0,
    "all": lambda dtype, args: 1,
    "prod": lambda dtype, args: 1,
    "amax": lambda dtype, args: _extreme(dtype, -1),
    "max": lambda dtype, args: _extreme(dtype, -1),
    "amin": lambda dtype, args: _extreme(dtype, 1),
    "min": lambda dtype, args: _extreme(dtype, 1),
    "logsumexp": lambda dtype, args: -math.inf,
    **dict.fromkeys(("linalg_vector_norm", "norm"), lambda dtype, args: _of_norm(args[1] if len(args) > 1 else 2)),
}
AVERAGED = frozenset({"mean", "var", "std", "var_mean", "std_mean"})  # reductions that count the places


def _extreme(dtype: str, sign: int) -> float:
    if dtype in FLOATS:
        return sign * math.inf
    info = torch.iinfo(TORCH_DTYPE[dtype])
    return info.max if sign > 0 else info.min


def _of_norm(order: float | None) -> float:
    return math.inf if order is not None and order < 0 else 0


def is_selecting(node: torch.fx.Node, known: Mapping[torch.fx.Node, Any]) -> bool:
    """Whether an op selects, or one of its operands is a selection, or holds some."""
    return node.target is SELECTION or bool(selections(map(known.get, node.all_input_nodes)))


def emit_selected(call: Call) -> Any:
    """What an op gives of selections. Raises UnsupportedError for one that would need them as tensors of their own."""
    if call.node.target is SELECTION:
        return _select(*call.args)
    first, *others = selections((call.args, call.kwargs))
    if any(not alike(first.mask, other.mask) for other in others):
        raise call.refuse("which meets one by another mask")
    if call.node.target is SELECTED:
        return total(first.mask)
    shown = call.node.meta["val"]
    if isinstance(shown, torch.Tensor) and call.name in FILLS:
        return shown_as(call, first, filled(first.whole, FILLS[call.name](call.args), IR_DTYPE[shown.dtype]), shown)
    if call.given("train") is False:  # dropout of what is not trained
        return first
    if call.name in IDENTITIES:
        return replace(first, whole=call.run(first.whole, *call.args[1:], **call.kwargs))
    if call.name in RESHAPES | EXPANDS:
        return _reshaped(call, first, tuple(shown.shape))
    if call.name in MOVES:
        moved = call.run(first.whole, *call.args[1:], **call.kwargs)
        return replace(first, whole=moved, dim=place_of(call, first, shown))
    if torch.Tag.pointwise in call.node.target.tags or call.name in ON_EACH:  # type: ignore[union-attr]
        return results_of(call, first, _on_each(call, first))
    if call.packet in LOSSES:
        return _loss(call, first)
    if call.packet in CLASSES:
        return _of_classes(call, first)
    if call.name in PRODUCTS:
        return product(call)
    if call.name in PICKS:
        return picked(call, first)
    if call.packet == "index_put":
        return put(call)
    if call.name in LAST:
        return _by_lines(call, first)
    if call.packet in ALONG:
        return _along(call, first)
    raise call.refuse("which is no tensor by itself")


def _select(x: Any, mask: Any, dim: int, size: int) -> Selection:
    if isinstance(mask, Selection):
        if not isinstance(x, Selection) or not alike(x.mask, mask.mask) or x.dim != dim or len(mask.shape) != 1:
            raise UnsupportedError(f"x[mask] with a mask that is a selection itself; {ADVICE}")
        both = OPS["bit_and"](x.mask, mask.filled(0))
        return replace(x, mask=both, clean=False)
    if isinstance(x, Selection):
        raise UnsupportedError(f"x[mask] of a selection by another mask; {ADVICE}")
    places = math.prod(mask.shape)
    whole = OPS["reshape"](x, shape=(*x.shape[:dim], places, *x.shape[dim + len(mask.shape) :]))
    return Selection(whole, OPS["reshape"](mask, shape=(places,)), dim, size).cleaned()


def _reshaped(call: Call, x: Selection, shape: tuple[int, ...]) -> Selection:
    dim = place_of(call, x, call.node.meta["val"])
    wanted = tuple(x.whole.shape[x.dim] if d == dim else n for d, n in enumerate(shape))
    if call.name in EXPANDS:
        if len(shape) - dim != len(x.shape) - x.dim:
            raise call.refuse("whose places would be elsewhere")
        return replace(x, whole=OPS["expand"](x.whole, shape=wanted), dim=dim)
    if math.prod(shape[:dim]) != math.prod(x.shape[: x.dim]):
        raise call.refuse("whose places would be elsewhere")
    return replace(x, whole=OPS["reshape"](x.whole, shape=wanted), dim=dim)


def _operands(call: Call, like: Selection) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of an op on each element, selections as all their places, other tensors cut off where nothing is selected."""
    tensors = [x for x in tree_leaves((call.args, call.kwargs)) if isinstance(x, (Sym, Selection))]
    rank = max(len(x.shape) for x in tensors)
    dim = like.dim + rank - len(like.shape)
    dtype = promoted(*(x.whole if isinstance(x, Selection) else x for x in tensors if x.dtype in FLOATS), 0)

    def one(x: Any) -> Any:
        if isinstance(x, Selection):
            if x.dim + rank - len(x.shape) != dim:
                raise call.refuse("which meets one that is selected along another dim")
            return x.whole
        if not isinstance(x, Sym):
            return x
        at = dim - rank + len(x.shape)
        if at >= 0 and x.shape[at] != 1:
            raise call.refuse("which meets a tensor that is none, of a fixed size")
        if x.dtype not in FLOATS:
            return x
        x = x if x.shape else cast(x, dtype)
        return where(in_line(like.mask, rank, dim), x, 1.0)

    return tree_map(one, (call.args, call.kwargs), is_leaf=lambda x: isinstance(x, (Sym, Selection)))  # type: ignore[no-any-return]


def _on_each(call: Call, like: Selection) -> Any:
    args, kwargs = _operands(call, like)
    return call.run(*args, **kwargs)


def _loss(call: Call, like: Selection) -> Any:
    """Each element's loss; the mean and the sum are those of what is selected."""
    args, kwargs = _operands(call, like)
    names = [one.name for one in call.node.target._schema.arguments]  # type: ignore[union-attr]
    at, reduction = names.index("reduction"), call.given("reduction")
    args = tuple(0 if place == at else one for place, one in enumerate(args))
    each = call.run(*args, **{**kwargs, **({"reduction": 0} if len(args) <= at else {})})
    tensors = selections((call.args, call.kwargs))
    rank = len(each.shape)
    dim = max(one.dim + rank - len(one.shape) for one in tensors)
    return _reduced(Selection(each, like.mask, dim, like.size), reduction)


def _reduced(each: Selection, reduction: int) -> Any:
    if reduction == 0:
        return each
    return mean(each.whole, among=each.chosen) if reduction == 1 else total(each.filled(0))


def _of_classes(call: Call, like: Selection) -> Any:
    """Places that are not selected have the class number that does not count."""
    x, target, *rest = call.args
    if not isinstance(x, Selection) or not isinstance(target, Selection) or x.dim or target.dim or call.kwargs:
        raise call.refuse("whose target, or input, is none")
    logits = x.cleaned().whole
    if target.dtype in FLOATS:
        weight, reduction, *more = (*rest, None, 1)[: max(len(rest), 2)]
        each = call.run(logits, target.cleaned().whole, weight, 0, *more)
        return _reduced(Selection(each, like.mask, 0, like.size), reduction)
    if target.dtype != "i64":
        raise call.refuse(f"whose target is {target.dtype}; .long() makes it i64")
    ignored = call.given("ignore_index")
    return results_of(call, like, call.run(logits, target.filled(ignored), *rest))


def _by_lines(call: Call, like: Selection) -> Any:
    places = [i for i, x in enumerate(call.args) if isinstance(x, Selection)]
    (place,) = places if len(places) == 1 else (-1,)
    if place != (call.packet == "embedding") or like.dim >= len(like.shape) - LAST[call.name](call.args):
        raise call.refuse("which it would mix")
    if call.packet == "batch_norm" and call.given("training"):
        raise call.refuse("whose mean and variance would be those of what is selected")
    args = tuple(like.cleaned().whole if i == place else x for i, x in enumerate(call.args))
    found = results_of(call, like, call.run(*args, **call.kwargs))
    return found.cleaned()  # its gradient meets the weight's


def _along(call: Call, like: Selection) -> Any:
    """An op along dims: of each place where the places are not among them, else a reduction over what is selected."""
    tensors = [x for x in tree_leaves((call.args, call.kwargs)) if isinstance(x, (Sym, Selection))]
    if any(not isinstance(x, Selection) for x in tensors):
        raise call.refuse("which meets a tensor that is none")
    rank = len(like.shape) + (call.packet == "stack")
    dims = call.given("dim", "dims")
    dims = range(rank) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    inside = like.dim in {d % max(rank, 1) for d in dims}
    if call.packet == "stack":
        inside = False
    if not inside:
        args, kwargs = tree_map(
            lambda x: x.cleaned().whole if isinstance(x, Selection) else x, (call.args, call.kwargs),
            is_leaf=lambda x: isinstance(x, (Sym, Selection)),
        )  # fmt: skip
        return results_of(call, like, call.run(*args, **kwargs))
    if call.packet in AVERAGED:
        return call.run(like.whole, *call.args[1:], **call.kwargs, among=like.chosen)
    if call.packet not in NEUTRAL:
        raise call.refuse("whose places it orders or counts")
    neutral = NEUTRAL[call.packet](like.dtype, call.args)
    found = call.run(like.filled(neutral), *call.args[1:], **call.kwargs)
    if isinstance(found, tuple):
        why = f"the place of the {call.packet} of a selection x[mask], counted among what is selected; {ADVICE}"
        return (found[0], Refused(why))
    return found
