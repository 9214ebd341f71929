"""Random changes of training pictures, one file each. The room finds its own modules: a file that defines one adds it."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from tritoncnn.augment.define import Augmentation, Batch
from tritoncnn.augment.draws import Draws
from tritoncnn.errors import InputError
from tritoncnn.flags import NONE, known


def _find_all() -> dict[str, Augmentation]:
    found: dict[str, Augmentation] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        for thing in vars(importlib.import_module(f"{__name__}.{module}")).values():
            if isinstance(thing, Augmentation) and found.setdefault(thing.name, thing) is not thing:
                raise AssertionError(f"two augmentations are named {thing.name}")
    return found


AUGMENTATIONS: dict[str, Augmentation] = _find_all()


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

    @property
    def keeps_place(self) -> bool:
        """Whether what is at a pixel stays there."""
        return all(part.keeps_place for part, _ in self.parts)

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
