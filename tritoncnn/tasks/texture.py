"""Textures, such as a cheetah's spots and a zebra's stripes, by filters, a non-linearity and means."""

from __future__ import annotations

from tritoncnn.data.texture import SIZE, read_texture
from tritoncnn.models.texture import Texture
from tritoncnn.task import Recipe
from tritoncnn.tasks.kinds.baselines import nearest_picture
from tritoncnn.tasks.kinds.classification import classification

RECIPE = Recipe(epochs=12, batch=32, steps=240, optimizer="adam", lr=0.03, momentum=0.0, weight_decay=0.0)

task = classification(
    name="texture",
    about="spots or stripes by filters, a non-linearity, their means and a linear layer; hand-made and linear to compare",
    models={
        "learned": lambda classes, channels: Texture(classes, channels),
        "hand-made": lambda classes, channels: Texture(classes, channels, made=True),
        "linear": lambda classes, channels: Texture(classes, channels, bend=False),
    },
    data=("patterns", "textures", "folder"),
    read=read_texture,
    shape=(1, SIZE, SIZE),
    classes=2,
    recipe=RECIPE,
    recipes={},
    baseline=nearest_picture,
)
