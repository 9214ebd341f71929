"""Results of filters as pictures that a person can look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.define import Array
from tritoncnn.figure import levels
from tritoncnn.filters.taps import Filter

GAP = 4  # pixels between the levels of a pyramid on a sheet
PAPER = 255


def levels_of(results: Sequence[Array], filter: Filter) -> tuple[list[NDArray[np.uint8]], str]:
    """(u8[H,W] or u8[H,W,3] of each result f32[C,H,W], in words what black and white are). One scale for all.

    Results of both signs have 0 at mid-grey; lengths go from 0 to the largest; all others are brightness, cut at 0 and 1.
    """
    largest = max(float(np.abs(result).max()) for result in results)
    if filter.signed:
        shown = [0.5 + result / (2 * (largest or 1.0)) for result in results]
        words = f"black is {-largest:.4g}, mid-grey 0, white {largest:.4g}"
    elif len(filter.taps) > 1:
        shown = [result / (largest or 1.0) for result in results]
        words = f"black is 0, white {largest:.4g}"
    else:
        shown = list(results)
        words = "black is 0, white 1"
        outside = sum(int(((result < 0) | (result > 1)).sum()) for result in results)
        if outside:
            share = outside / sum(result.size for result in results)
            words += f"; {share:.1%} of the values lie outside and were cut, which a .npy file would keep"
    return [levels(result) for result in shown], words


def sheet_of(levels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The first level at the left, the others one below the other beside it, on white paper."""
    first, rest = levels[0], levels[1:]
    height = max(first.shape[0], sum(level.shape[0] for level in rest) + GAP * (len(rest) - 1))
    width = first.shape[1] + (GAP + rest[0].shape[1] if rest else 0)
    sheet = np.full((height, width, *first.shape[2:]), PAPER, np.uint8)
    sheet[: first.shape[0], : first.shape[1]] = first
    top = 0
    for level in rest:
        sheet[top : top + level.shape[0], first.shape[1] + GAP : first.shape[1] + GAP + level.shape[1]] = level
        top += level.shape[0] + GAP
    return sheet
