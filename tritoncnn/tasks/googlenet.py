"""Photographs by inception blocks: Szegedy et al. 2015."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tritoncnn.models.googlenet import GoogLeNet, Outputs
from tritoncnn.task import Recipe, Side
from tritoncnn.tasks.kinds.photographs import of_photographs

AUX = 0.3  # weight of each classifier on the way, as in the paper


def loss(output: torch.Tensor | Outputs, target: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    """Cross-entropy of the logits, and of the classifiers on the way where the net is being trained."""

    def entropy(logits: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, target, label_smoothing=label_smoothing)

    if isinstance(output, torch.Tensor):
        return entropy(output)
    return entropy(output.logits) + AUX * (entropy(output.aux_logits1) + entropy(output.aux_logits2))


task = of_photographs(
    name="googlenet",
    about="photographs by GoogLeNet, trained with its two classifiers on the way, after Szegedy et al. 2015",
    models={"googlenet": (GoogLeNet, Side(usual=32, least=15))},
    recipe=Recipe(epochs=2, batch=32, steps=400, optimizer="adamw", lr=0.001, momentum=0.0, weight_decay=0.02),
    loss=loss,
)
