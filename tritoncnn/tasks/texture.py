"""Textures, such as a cheetah's spots and a zebra's stripes, by filters, a non-linearity and means."""

from __future__ import annotations

from tritoncnn.data.texture import SIZE, read_texture
from tritoncnn.flags import option
from tritoncnn.models.texture import Texture
from tritoncnn.task import Recipe
from tritoncnn.tasks.kinds.baselines import nearest_picture
from tritoncnn.tasks.kinds.classification import classification

RECIPE = Recipe(epochs=12, batch=32, steps=240, optimizer="adam", lr=0.03, momentum=0.0, weight_decay=0.0)

task = classification(
    name="texture",
    about="spots or stripes by filters, a non-linearity, their means and a linear layer",
    models={"texture": Texture},
    data=("patterns", "textures", "folder"),
    read=read_texture,
    shape=(1, SIZE, SIZE),
    classes=2,
    recipe=RECIPE,
    recipes={},
    options=(
        option("filters", "learned", "Learned, or made by hand and fixed.", choices=("learned", "hand-made")),
        option(
            "activation", "relu", "The non-linearity; none: all that is left is mean values.", choices=("relu", "none")
        ),
    ),
    gallery=True,
    baseline=nearest_picture,
)
