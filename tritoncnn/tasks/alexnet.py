"""Photographs by AlexNet: Krizhevsky et al. 2012 and 2014."""

from __future__ import annotations

from tritoncnn.models.alexnet import alexnet, alexnet32, alexnet2012
from tritoncnn.task import Recipe, Side
from tritoncnn.tasks.kinds.photographs import of_photographs

task = of_photographs(
    name="alexnet",
    about="photographs by AlexNet, after Krizhevsky et al. 2012",
    models={
        "alexnet32": (alexnet32, Side(usual=32, least=16)),
        "alexnet": (alexnet, Side(usual=96, least=63)),
        "alexnet2012": (alexnet2012, Side(usual=96, least=63)),
    },
    recipe=Recipe(epochs=4, batch=32, steps=400, optimizer="adamw", lr=0.0007, momentum=0.0, weight_decay=0.02),
)
