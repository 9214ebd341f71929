"""What a sceptic would try before a network on levels of sound: counting what followed the last few of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data import Examples, Facts
from tritoncnn.models.wavenet import LEVELS
from tritoncnn.task import Baseline, Values

ORDERS = 4  # 0, 1, 2 and 3 samples that are looked back at


def markov(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline:
    """The fewest bits per sample of Markov models of the orders 0 to 3."""
    bits = markov_bits(train, test)
    order = int(np.argmin(bits))
    return Baseline(
        f"the best Markov model of orders 0 to {ORDERS - 1}, that of order {order} (Witten-Bell)", bits[order]
    )


def markov_bits(train: Examples, test: Examples) -> list[float]:
    """Bits per test sample by Markov models of the orders 0, 1, ..., smoothed as Witten & Bell 1991 do (their method C):

    P(s | context) = (count(context, s) + kinds P(s | shorter context)) / (count(context) + kinds)

    where ``kinds`` is how many different samples followed the context; below order 0 all levels are as likely.
    """
    known, asked = _spans(train), _spans(test)
    chance = np.full(len(asked), 1 / LEVELS)
    found = []
    for order in range(ORDERS):
        spans, counts = np.unique(_number(known, order), return_counts=True)
        contexts, first = np.unique(spans // LEVELS, return_index=True)
        kinds, totals = np.diff([*first, len(spans)]), np.add.reduceat(counts, first)
        span = _number(asked, order)
        here, seen = _look_up(spans, counts, span), _look_up(contexts, totals, span // LEVELS)
        different = _look_up(contexts, kinds, span // LEVELS)
        chance = np.where(seen > 0, (here + different * chance) / np.maximum(seen + different, 1), chance)
        found.append(float(-np.log2(chance).mean()))
    return found


def _spans(part: Examples) -> NDArray[np.int64]:
    """Each sample to be told with those before it, the oldest first: i64[samples,ORDERS]."""
    window = part.y.shape[1]
    levels = part.x.numpy()[:, -window - ORDERS + 1 :]
    spans = np.lib.stride_tricks.sliding_window_view(levels, ORDERS, axis=1)
    found: NDArray[np.int64] = spans[part.y.numpy()].astype(np.int64)
    return found


def _number(spans: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    """One number for each sample and the ``order`` samples before it; without the last digit, for these alone."""
    number = np.zeros(len(spans), np.int64)
    for column in range(ORDERS - 1 - order, ORDERS):
        number = number * LEVELS + spans[:, column]
    return number


def _look_up(keys: NDArray[np.int64], values: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """The value of each wanted key, 0 where it is none of the sorted ``keys``."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)
