"""Classifiers of colour pictures: by default, of which of twelve photographs a patch of 32 x 32 is; or of digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F

from tritoncnn.data.colour import ColourReader
from tritoncnn.data.photographs import FILES
from tritoncnn.task import Metric, Recipe, Side, Task
from tritoncnn.tasks.kinds.baselines import nearest_mean
from tritoncnn.tasks.kinds.classification import classification, top5

Nets = Mapping[str, tuple[Callable[[int, int], torch.nn.Module], Side]]


def of_photographs(
    *,
    name: str,
    about: str,
    models: Nets,
    recipe: Recipe,
    loss: Callable[..., torch.Tensor] = F.cross_entropy,
) -> Task:
    """A task on patches of photographs, digits, CIFAR, and folders of pictures, whose middle squares are scaled to one size.

    ``models``: how to build each from the numbers of classes and channels, and the sizes of pictures that it takes.
    """
    side = next(iter(models.values()))[1].usual
    files = replace(recipe, epochs=20)
    return classification(
        name=name,
        about=about,
        models={model: build for model, (build, _) in models.items()},
        data=("photographs", "digits", "cifar10", "cifar100", "folder"),
        read=ColourReader(side),
        shape=(3, side, side),
        classes=len(FILES),
        recipe=recipe,
        recipes={"cifar10": files, "cifar100": files, "folder": files},
        sides={model: sides for model, (_, sides) in models.items()},
        loss=loss,
        more={"top5": Metric(top5, percent=True)},
        baseline=nearest_mean,
    )
