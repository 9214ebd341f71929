"""Right-hand factors as panels (``kernels/panels.py``) and back, for tensors and for graphs."""

from __future__ import annotations

import math
from typing import Any

from tritoncnn.ops.copy import copy
from tritoncnn.ops.permute import permute
from tritoncnn.ops.reshape import reshape


def panels_of(split: Any, dims: tuple[int, ...]) -> Any:
    """Panels [N/B, rows, B] of a factor whose columns are split into the dims ``dims[0]`` and ``dims[-1]``, N/B and B; the dims
    between these two, outermost first, make the rows. The copy is made here."""
    apart = permute(split, dims=dims)
    laid = copy(apart, order=tuple(range(len(dims))))
    return reshape(laid, shape=(laid.shape[0], math.prod(laid.shape[1:-1]), laid.shape[-1]))


def filters_of(panels: Any, taps: tuple[int, ...]) -> Any:
    """[K/B, RSC, B] -> [K, C, R, S]."""
    count, rows, width = panels.shape
    R, S = taps
    C = rows // (R * S)
    apart = reshape(panels, shape=(count, R, S, C, width))
    return reshape(permute(apart, dims=(0, 4, 3, 1, 2)), shape=(count * width, C, R, S))


def filters_in_panels(w: Any, width: int) -> Any:
    """[K, C, R, S] -> [K/B, RSC, B]."""
    K, C, R, S = w.shape
    return panels_of(reshape(w, shape=(K // width, width, C, R, S)), (0, 3, 4, 2, 1))


def matrix_of(panels: Any) -> Any:
    """[N/B, K, B] -> [K, N]."""
    count, rows, width = panels.shape
    return reshape(permute(panels, dims=(1, 0, 2)), shape=(rows, count * width))


def matrix_in_panels(b: Any, width: int) -> Any:
    """[K, N] -> [N/B, K, B]."""
    K, N = b.shape
    return panels_of(reshape(b, shape=(K, N // width, width)), (1, 0, 2))
