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
    recipe=Recipe(epochs=6, batch=64, steps=350, optimizer="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4),
)
