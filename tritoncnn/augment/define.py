"""What an augmentation is: a random change of training pictures that leaves what they show, or says how it changes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tritoncnn.data import Facts
from tritoncnn.flags import Rule

SHARE = Rule("above 0 and at most 1", lambda value: 0 < value <= 1)


class Batch(NamedTuple):
    """Pictures f32[N,C,H,W], normalised by the facts' mean and std, and their targets.

    These are classes i64[N] or shares f32[N,classes]; where the task finds boxes, ``boxed``, they are f32[N,M,5]: a class, or -1
    for no box, then x0, y0, x1, y1 in shares of the picture's side; else what only augmentations with ``keeps_place`` may leave
    as it is.
    """

    x: torch.Tensor
    y: Any
    facts: Facts
    boxed: bool = False

    def channels(self, values: tuple[float, ...]) -> torch.Tensor:
        """One number per channel, as f32[C,1,1]."""
        return torch.tensor(values, dtype=torch.float32)[:, None, None]


Draw = Callable[[int], NDArray[np.float64]]  # how many -> f64[N, that many] in [0, 1)


@dataclass(frozen=True)
class Augmentation:
    """One way of changing pictures; what ``--augment NAME`` or ``--augment NAME=AMOUNT`` names.

    about   one line, which says what the amount is
    amount  the usual one
    change  (batch, amount, its draws) -> the changed batch; a picture's change follows from its own draws alone
    soft    targets become shares of the classes
    keeps_place  what is at a pixel stays there, so that boxes and maps stay right
    moves_boxes  it changes boxes to match
    """

    name: str
    about: str
    amount: float
    change: Callable[[Batch, float, Draw], Batch]
    rule: Rule = SHARE
    soft: bool = False
    keeps_place: bool = False
    moves_boxes: bool = False
