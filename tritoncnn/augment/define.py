"""What an augmentation is: a random change of training pictures that leaves what they show, or says how it changes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tritoncnn.data import IGNORED, Facts, Targets
from tritoncnn.flags import Rule
from tritoncnn.tree import apply

SHARE = Rule("above 0 and at most 1", lambda value: 0 < value <= 1)


class Batch(NamedTuple):
    """Pictures f32[N,C,H,W], normalised by the facts' mean and std, and their targets, with what these are."""

    x: torch.Tensor
    y: Any
    facts: Facts
    targets: Targets = Targets.CLASSES

    def channels(self, values: tuple[float, ...]) -> torch.Tensor:
        """One number per channel, as f32[C,1,1]."""
        return torch.tensor(values, dtype=torch.float32)[:, None, None]

    def black(self) -> torch.Tensor:
        """What a black pixel is after normalisation, f32[C,1,1]."""
        return (0 - self.channels(self.facts.mean)) / self.channels(self.facts.std)

    def map_targets(self, change: Callable[[torch.Tensor, Any], torch.Tensor]) -> Any:
        """Maps as targets, each as [N,any,H,W] changed by ``change``, which is also told what stands for a pixel not known."""

        def changed(y: torch.Tensor) -> torch.Tensor:
            unknown = 0.0 if y.is_floating_point() else IGNORED
            return change(y[:, None], unknown)[:, 0] if y.dim() == 3 else change(y, unknown)

        return apply(changed, self.y)


Draw = Callable[[int], NDArray[np.float64]]  # how many -> f64[N, that many] in [0, 1)


@dataclass(frozen=True)
class Augmentation:
    """One way of changing pictures; what ``--augment NAME`` or ``--augment NAME=AMOUNT`` names.

    about   one line, which says what the amount is
    amount  the usual one
    change  (batch, amount, its draws) -> the changed batch; a picture's change follows from its own draws alone
    soft    targets become shares of the classes
    keeps_place  what is at a pixel stays there, so that targets of all kinds stay right,
    keeps_colours  or all but colours, where it does not
    follows  kinds of targets, beside classes, that it changes to match
    """

    name: str
    about: str
    amount: float
    change: Callable[[Batch, float, Draw], Batch]
    rule: Rule = SHARE
    soft: bool = False
    keeps_place: bool = False
    keeps_colours: bool = True
    follows: tuple[Targets, ...] = ()

    def fits(self, targets: Targets) -> bool:
        """Whether targets of this kind are right after the change."""
        if targets is Targets.COLOURS and not self.keeps_colours:
            return False
        return targets is Targets.CLASSES or self.keeps_place or targets in self.follows
