"""ATen's ops that mean something else, or anything at all, only while a model is trained: batch norm and random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tritoncnn.formulas import random
from tritoncnn.formulas.dtypes import cast
from tritoncnn.formulas.norm import batch_norm_eval, batch_norm_train
from tritoncnn.formulas.pointwise import leaky_relu
from tritoncnn.formulas.random import Draw
from tritoncnn.formulas.refused import Refused
from tritoncnn.ops import IR_DTYPE, OPS

NORMS = frozenset({
    "batch_norm.default", "_native_batch_norm_legit_functional.default", "_batch_norm_with_update_functional.default",
    "_native_batch_norm_legit.no_stats",
})  # fmt: skip


def norm(name: str, args: list[Any]) -> Any:
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


def _dropout(channels: bool, alpha: bool = False) -> Callable[..., Any]:
    drop = random.alpha_drop if alpha else random.drop

    def emit(draw: Draw, meta: Any, x: Any, p: float, training: bool) -> Any:
        return drop(x, float(p), draw, channels) if training and p else x

    return emit


def _native_dropout(draw: Draw, meta: Any, x: Any, p: float, training: bool | None) -> Any:
    if training is False or not p:
        return x, Refused("the mask of a dropout")
    return random.drop(x, float(p), draw), Refused("the mask of a dropout")


def _bernoulli(draw: Draw, meta: Any, x: Any, p: Any = None) -> Any:
    """Numbers that are 1 with probability p, or x where none is given."""
    return cast(random.holds(draw, tuple(meta.shape), x if p is None else p), IR_DTYPE[meta.dtype])


def _rand(draw: Draw, meta: Any, *shape: Any, dtype: Any = None) -> Any:
    return cast(draw(tuple(meta.shape)), IR_DTYPE[meta.dtype])


def _randn(draw: Draw, meta: Any, *shape: Any, dtype: Any = None) -> Any:
    return cast(random.gaussian(draw, tuple(meta.shape)), IR_DTYPE[meta.dtype])


def _uniform(draw: Draw, meta: Any, x: Any, low: float = 0.0, high: float = 1.0) -> Any:
    return cast(draw(tuple(meta.shape)) * float(high - low) + float(low), IR_DTYPE[meta.dtype])


def _normal(draw: Draw, meta: Any, mean: Any, std: Any = 1.0, size: Any = None, *, dtype: Any = None) -> Any:
    """Of given mean and deviation, each a number or a tensor."""
    return cast(random.gaussian(draw, tuple(meta.shape)) * std + mean, IR_DTYPE[meta.dtype])


def _normal_like(draw: Draw, meta: Any, x: Any, mean: float = 0.0, std: float = 1.0) -> Any:
    return _normal(draw, meta, float(mean), float(std))


def _randint(draw: Draw, meta: Any, high: int, size: Any, *, dtype: Any = None) -> Any:
    return cast(random.whole(draw, tuple(meta.shape), 0, high), IR_DTYPE[meta.dtype])


def _randint_low(draw: Draw, meta: Any, low: int, high: int, size: Any, *, dtype: Any = None) -> Any:
    return cast(random.whole(draw, tuple(meta.shape), low, high), IR_DTYPE[meta.dtype])


def _randint_like(draw: Draw, meta: Any, x: Any, high: int, *, dtype: Any = None) -> Any:
    return _randint(draw, meta, high, meta.shape)


def _randint_like_low(draw: Draw, meta: Any, x: Any, low: int, high: int, *, dtype: Any = None) -> Any:
    return _randint_low(draw, meta, low, high, meta.shape)


def _exponential(draw: Draw, meta: Any, x: Any, rate: float = 1.0) -> Any:
    """-log(1 - u) / rate."""
    return cast(OPS["log"](1.0 - draw(tuple(meta.shape))) * (-1.0 / rate), IR_DTYPE[meta.dtype])


def _randperm(draw: Draw, meta: Any, n: int, *, dtype: Any = None) -> Any:
    return cast(random.order(draw, n), IR_DTYPE[meta.dtype])


def _multinomial(draw: Draw, meta: Any, p: Any, count: int, replacement: bool = False) -> Any:
    return random.chosen(draw, p, count, replacement)


def _rrelu(draw: Draw, meta: Any, x: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Any:
    return random.rrelu(x, float(lower), float(upper), draw) if training else leaky_relu(x, (lower + upper) / 2)


def _rrelu_with_noise(draw: Draw, meta: Any, x: Any, noise: Any, lower: float = 1 / 8, upper: float = 1 / 3,
                      training: bool = False) -> Any:  # fmt: skip
    return _rrelu(draw, meta, x, lower, upper, training), Refused("the noise of rrelu")


RANDOM: dict[str, Callable[..., Any]] = {  # (draw, what torch says of the result, *arguments)
    "dropout.default": _dropout(False),
    "feature_dropout.default": _dropout(True),
    "alpha_dropout.default": _dropout(False, True),
    "feature_alpha_dropout.default": _dropout(True, True),
    "native_dropout.default": _native_dropout,
    "rrelu.default": _rrelu,
    "rrelu_with_noise_functional.default": _rrelu_with_noise,
    "bernoulli.default": _bernoulli,
    "bernoulli.p": _bernoulli,
    "bernoulli.Tensor": _bernoulli,
    "rand.default": _rand,
    "rand_like.default": _rand,
    "randn.default": _randn,
    "randn_like.default": _randn,
    "uniform.default": _uniform,
    "normal.Tensor_float": _normal,
    "normal.float_Tensor": _normal,
    "normal.Tensor_Tensor": _normal,
    "normal.float_float": _normal,
    "normal_functional.default": _normal_like,
    "randint.default": _randint,
    "randint.low": _randint_low,
    "randint_like.default": _randint_like,
    "randint_like.low_dtype": _randint_like_low,
    "exponential.default": _exponential,
    "randperm.default": _randperm,
    "multinomial.default": _multinomial,
}
