"""The models that ``tritoncnn train`` knows by name. Importing this imports no model and no torch."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ModelEntry:
    """Where a model lives, what it eats, and what it is.

    file         module of this room
    constructor  name of its class; called with ``classes=``, the number of outputs
    shape        C, H, W of one input picture
    about        one line, with the source
    """

    file: str
    constructor: str
    shape: tuple[int, int, int]
    about: str

    def build(self, classes: int) -> nn.Module:
        """A new model with ``classes`` outputs, initialised from torch's global generator."""
        module = importlib.import_module(f"{__name__}.{self.file}")
        model: nn.Module = getattr(module, self.constructor)(classes=classes)
        return model


MODELS = {
    "lenet": ModelEntry("lenet", "LeNet", (1, 28, 28), "LeNet-5 with ReLU and max pooling, after LeCun et al. 1998"),
}
