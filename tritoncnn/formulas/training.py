"""ATen's ops that mean something else, or anything at all, only while a model is trained: batch norm and dropout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tritoncnn.formulas.norm import batch_norm_eval, batch_norm_train
from tritoncnn.formulas.random import dropout
from tritoncnn.formulas.refused import Refused
from tritoncnn.ops import OPS

NORMS = {
    "batch_norm.default", "_native_batch_norm_legit_functional.default", "_batch_norm_with_update_functional.default",
    "_native_batch_norm_legit.no_stats",
}  # fmt: skip
TRAINING = NORMS | {
    "native_dropout.default", "dropout.default", "feature_dropout.default", "bernoulli.p", "new_empty.default",
}  # fmt: skip


def emit_training(name: str, args: list[Any], meta: Any, seed: Callable[[], Any], first: int) -> tuple[Any, int]:
    """(the result, how many random numbers it takes, from the ``first`` of the seed on). ``meta``: what torch says of it."""
    if name in NORMS:
        return _norm(name, args), 0
    if name == "new_empty.default":
        return meta, 0  # only its shape is asked for
    if name == "bernoulli.p":
        shape = tuple(meta.shape)
        u = OPS["reshape"](OPS["uniform"](seed(), count=math.prod(shape), first=first), shape=shape)
        return OPS["where"](OPS["lt"](u, float(args[1])), u * 0.0 + 1.0, 0.0), math.prod(shape)
    x, p, training = args[:3]
    if not training:
        return x, 0
    channels = name == "feature_dropout.default"
    y = dropout(x, float(p), seed(), channels, first)
    found = (y, Refused("the mask of a dropout")) if name == "native_dropout.default" else y
    return found, math.prod(x.shape[:2] if channels else x.shape)


def _norm(name: str, args: list[Any]) -> Any:
    """Batch norms; layers of a model that is trained may be in eval mode."""
    x, weight, bias = args[:3]
    mean, var = (None, None) if name.endswith("no_stats") else args[3:5]
    momentum, eps = (args[6], args[7]) if name == "batch_norm.default" else args[-2:]
    saved = Refused("saved statistics of batch norm")
    training = args[3] if name.endswith("no_stats") else True if "with_update" in name else args[5]
    if training:
        y, mean, var = batch_norm_train(x, weight, bias, mean, var, momentum, eps)
    else:
        y = batch_norm_eval(x, weight, bias, mean, var, eps)
    if name == "batch_norm.default":
        return y
    return (y, saved, saved, *([saved] if "with_update" in name else []), mean, var)
