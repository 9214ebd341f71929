"""Dropout in terms of our ops: the mask comes from a seed and each element's place."""

from __future__ import annotations

import math
from typing import Any

from tritoncnn.errors import InputError, ShapeError
from tritoncnn.ops import OPS

op = OPS


def dropout(x: Any, p: float, seed: Any, channels: bool = False, first: int = 0) -> Any:
    """x / (1 - p) where a uniform number is at least p, else 0; one number per element, or per channel of [N, C, ...].

    The numbers are those of the seed from ``first`` on.

    Source: Srivastava et al. 2014, "Dropout"; Tompson et al. 2015 for channels. Raises InputError, ShapeError.
    """
    if not 0 <= p <= 1:
        raise InputError(f"dropout: p must lie in 0..1; got {p}")
    if channels and len(x.shape) < 3:
        raise ShapeError(f"dropout of channels: x must be [N, C, ...pixels]; got {list(x.shape)}")
    shape = (*x.shape[:2], *(1,) * (len(x.shape) - 2)) if channels else tuple(x.shape)
    u = op["reshape"](op["uniform"](seed, count=math.prod(shape), first=first), shape=shape)
    return op["where"](op["ge"](u, float(p)), x * (1 / (1 - p) if p < 1 else 0.0), 0.0)
