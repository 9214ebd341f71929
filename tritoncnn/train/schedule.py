"""How the learning rate goes over the steps of a run."""

from __future__ import annotations

import math
from collections.abc import Callable

# Share t of the steps behind the warm-up that are done, 0 <= t < 1 -> share of the highest learning rate.
Fall = Callable[[float], float]

START, END = 1 / 25, 1 / 25e4  # one-cycle: of the highest learning rate, at first and in the end, as in torch


def _half_cosine(t: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * t))


FALLS: dict[str, Fall] = {
    "cosine": _half_cosine,  # Loshchilov & Hutter 2017, "SGDR", equation 5 without restarts
    "step": lambda t: 0.1 ** ((t >= 0.5) + (t >= 0.75)),  # He et al. 2016, section 4.2
    "one-cycle": lambda t: END + (1 - END) * _half_cosine(t),  # Smith & Topin 2018, "Super-convergence"
    "constant": lambda t: 1.0,
}


def share_at(schedule: str, warm_up: float, step: int, steps: int) -> float:
    """Share of the highest learning rate in step 0 <= ``step`` < ``steps``: a rise over ``warm_up`` of them, then the fall.

    The rise is a straight line from 0, of one-cycle half a cosine from 1/25.
    """
    rise = math.ceil(warm_up * steps)
    if step < rise:
        if schedule == "one-cycle":
            return START + (1 - START) * (1 - _half_cosine(step / rise))
        return (step + 1) / rise
    return FALLS[schedule]((step - rise) / max(1, steps - rise))
