"""Random numbers in terms of our ops: each comes from a seed and its place alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tritoncnn.errors import InputError, ShapeError, UnsupportedError
from tritoncnn.formulas.dtypes import as_float, widen
from tritoncnn.formulas.order import argmax, argsort, topk
from tritoncnn.ops import OPS

op = OPS
Shape = tuple[int, ...]
Draw = Callable[[Shape], Any]  # numbers in [0, 1) that nobody has drawn before


def uniform(seed: Any, shape: Shape, first: int) -> Any:
    """The numbers of the seed from ``first`` on, in [0, 1)."""
    return op["reshape"](op["uniform"](seed, count=math.prod(shape), first=first), shape=shape)


def dropout(x: Any, p: float, seed: Any, channels: bool = False, first: int = 0) -> Any:
    """x / (1 - p) where a uniform number is at least p, else 0; one number per element, or per channel of [N, C, ...].

    The numbers are those of the seed from ``first`` on.

    Source: Srivastava et al. 2014, "Dropout"; Tompson et al. 2015 for channels. Raises InputError, ShapeError.
    """
    return drop(x, p, lambda shape: uniform(seed, shape, first), channels)


def drop(x: Any, p: float, draw: Draw, channels: bool = False) -> Any:
    """As ``dropout``."""
    kept = _kept("dropout", x, p, draw, channels)
    return op["where"](kept, x * (1 / (1 - p) if p < 1 else 0.0), 0.0)


def _kept(name: str, x: Any, p: float, draw: Draw, channels: bool) -> Any:
    if not 0 <= p <= 1:
        raise InputError(f"{name}: p must lie in 0..1; got {p}")
    if channels and len(x.shape) < 3:
        raise ShapeError(f"{name} of channels: x must be [N, C, ...pixels]; got {list(x.shape)}")
    shape = (*x.shape[:2], *(1,) * (len(x.shape) - 2)) if channels else tuple(x.shape)
    return op["ge"](draw(shape), float(p))


def alpha_drop(x: Any, p: float, draw: Draw, channels: bool = False) -> Any:
    """What is dropped becomes selu's lower bound; all is scaled and moved so that mean and variance stay.

    Source: Klambauer et al. 2017, "Self-normalizing neural networks", section 2.
    """
    low = -1.7580993408473766
    kept = _kept("alpha_dropout", x, p, draw, channels)
    if p == 1:
        return op["where"](kept, x * 0.0, 0.0)
    a = 1 / math.sqrt((1 - p) * (1 + p * low * low))
    return op["where"](kept, x, low) * a - p * low * a


def rrelu(x: Any, lower: float, upper: float, draw: Draw) -> Any:
    """x where it is above 0, else x times a slope drawn from lower..upper. Source: Xu et al. 2015."""
    slope = draw(tuple(x.shape)) * (upper - lower) + lower
    return op["where"](op["le"](x, 0.0), x * slope, x)


def gaussian(draw: Draw, shape: Shape) -> Any:
    """Standard normal numbers. Source: Box & Muller 1958; 1 - u is above 0, so its logarithm is finite."""
    radius = op["sqrt"](op["log"](1.0 - draw(shape)) * -2.0)
    return radius * op["cos"](draw(shape) * (2 * math.pi))


def whole(draw: Draw, shape: Shape, low: int, high: int) -> Any:
    """i64 numbers from low to below high. Raises UnsupportedError for more than 2**24 of them, which f32 cannot tell apart."""
    if not 0 < high - low <= 2**24:
        raise UnsupportedError(f"randint of {high - low} different numbers: it takes 1 to 2**24")
    drawn = op["cast_i64"](draw(shape) * float(high - low))
    return op["add"](op["minimum"](drawn, high - low - 1), low)


def holds(draw: Draw, shape: Shape, p: Any) -> Any:
    """True with probability p, a number or a tensor that broadcasts to ``shape``."""
    return op["lt"](draw(shape), p)


def order(draw: Draw, n: int) -> Any:
    """0, 1, ... n-1 as i64 in a random order: that of n numbers."""
    return argsort(draw((n,)))


def chosen(draw: Draw, p: Any, count: int, replacement: bool) -> Any:
    """i64 [..., count], places of p [..., C] drawn with chances in proportion to p, each at most once without ``replacement``.

    Where fewer places than ``count`` have a chance, others follow, where torch raises. Raises ShapeError.
    Source: Efraimidis & Spirakis 2006, "Weighted random sampling with a reservoir", in logarithms.
    """
    *lead, C = p.shape
    if not 1 <= len(p.shape) <= 2 or (not replacement and count > C):
        raise ShapeError(f"multinomial: p must be [C] or [N, C] with C at least {count}; got {list(p.shape)}")
    z = widen(op["detach"](as_float(p)))
    if not replacement:
        return topk(_race(draw, z), count)[1]
    return argmax(_race(draw, op["reshape"](z, shape=(*lead, 1, C)), count), -1)


def _race(draw: Draw, p: Any, rows: int = 1) -> Any:
    """log(p / e) with e drawn from the exponential distribution, where p is above 0: the largest wins in proportion to p."""
    shape = (*p.shape[:-2], rows, p.shape[-1]) if rows > 1 else tuple(p.shape)
    late = op["log"](-op["log"](1.0 - draw(shape)))
    return op["where"](p > 0.0, op["log"](op["where"](p > 0.0, p, 1.0)) - late, -math.inf)
