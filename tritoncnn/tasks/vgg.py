"""Photographs by stacks of 3 x 3 convolutions: Simonyan & Zisserman 2015."""

from __future__ import annotations

from tritoncnn.models.vgg import vgg11, vgg11_32, vgg11_bn, vgg16, vgg16_bn
from tritoncnn.task import Recipe, Side
from tritoncnn.tasks.kinds.photographs import of_photographs

SIDE = Side(usual=32, least=32)

task = of_photographs(
    name="vgg",
    about="photographs by stacks of 3 x 3 convolutions, after Simonyan & Zisserman 2015",
    models={
        "vgg11_32": (vgg11_32, SIDE),
        "vgg11": (vgg11, SIDE),
        "vgg11_bn": (vgg11_bn, SIDE),
        "vgg16": (vgg16, SIDE),
        "vgg16_bn": (vgg16_bn, SIDE),
    },
    recipe=Recipe(epochs=1, batch=32, steps=220, optimizer="adamw", lr=0.001, momentum=0.0, weight_decay=0.02),
)
