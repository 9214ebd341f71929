"""Handwritten digits, and other small drawings in classes, by LeNet-5: LeCun et al. 1998."""

from __future__ import annotations

from dataclasses import replace

from tritoncnn.data.ink import SIZE, read_ink
from tritoncnn.models.lenet import LeNet
from tritoncnn.task import Recipe
from tritoncnn.tasks.kinds.baselines import nearest_picture
from tritoncnn.tasks.kinds.classification import classification

RECIPE = Recipe(epochs=12, batch=64, steps=400, optimizer="sgd", lr=0.03, momentum=0.9, weight_decay=5e-4)

task = classification(
    name="lenet",
    about="handwritten digits by LeNet-5 with ReLU and max pooling, after LeCun et al. 1998",
    models={"lenet": lambda classes, channels: LeNet(classes)},
    data=("digits", "mnist", "folder"),
    read=read_ink,
    shape=(1, SIZE, SIZE),
    classes=10,
    recipe=RECIPE,
    recipes={"mnist": replace(RECIPE, epochs=5), "folder": replace(RECIPE, epochs=20)},
    baseline=nearest_picture,
)
