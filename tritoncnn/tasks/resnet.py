"""Photographs by residual networks: He et al. 2016."""

from __future__ import annotations

from tritoncnn.models.resnet import resnet18, resnet20, resnet34, resnet50
from tritoncnn.task import Recipe, Side
from tritoncnn.tasks.kinds.photographs import of_photographs

task = of_photographs(
    name="resnet",
    about="photographs by residual networks, after He et al. 2016",
    models={
        "resnet20": (resnet20, Side(usual=32, least=8)),
        "resnet18": (resnet18, Side(usual=64, least=32)),
        "resnet34": (resnet34, Side(usual=64, least=32)),
        "resnet50": (resnet50, Side(usual=64, least=32)),
    },
    recipe=Recipe(epochs=2, batch=32, steps=400, optimizer="adamw", lr=0.004, momentum=0.0, weight_decay=0.02),
)
