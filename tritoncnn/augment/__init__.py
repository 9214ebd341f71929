"""Random changes of training pictures, one file each. The room finds its own modules: a file that defines one adds it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from tritoncnn.augment.define import Augmentation, Batch
from tritoncnn.augment.draws import Draws
from tritoncnn.errors import InputError
from tritoncnn.flags import NONE, known
from tritoncnn.rooms import find_all

AUGMENTATIONS: dict[str, Augmentation] = find_all(__name__, __path__, Augmentation)


@dataclass(frozen=True)
class Changes:
    """Augmentations with their amounts, in the order in which they are done."""

    parts: tuple[tuple[Augmentation, float], ...]

    @classmethod
    def of(cls, text: str) -> Changes:
        """Read ``crop,flip,colour=0.3``; ``none`` is none. Raises InputError naming the part that is wrong."""
        words = [] if text == NONE else [word.strip() for word in text.split(",")]
        parts: list[tuple[Augmentation, float]] = []
        for word in words:
            name, equals, amount = (part.strip() for part in word.partition("="))
            known("augmentation", name, AUGMENTATIONS)
            found = AUGMENTATIONS[name]
            if any(found is other for other, _ in parts):
                raise InputError(f"--augment has {name} twice; say it once")
            parts.append((found, _number(found, amount) if equals else found.amount))
        return cls(tuple(parts))

    @property
    def soft(self) -> bool:
        """Whether targets become shares of the classes."""
        return any(part.soft for part, _ in self.parts)

    def apply(self, batch: Batch, seed: int, epoch: int, rows: torch.Tensor) -> Batch:
        """Change a batch of the examples ``rows`` i64[N]; what a picture becomes follows from seed, epoch and its row.

        Where pictures are mixed, it follows from the other pictures of the batch as well.
        """
        draws = Draws(seed, epoch, rows.numpy().astype(np.int64))
        for part, amount in self.parts:
            batch = part.change(batch, amount, partial(draws.uniform, part.name))
        return batch


def _number(of: Augmentation, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not of.rule.holds(value):
        raise InputError(f"--augment {of.name}=AMOUNT must be {of.rule.words}; got {text!r}")
    return value


__all__ = ["AUGMENTATIONS", "Augmentation", "Batch", "Changes", "Draws"]
