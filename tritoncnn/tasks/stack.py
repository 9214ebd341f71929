"""Digits by stacks of filters that lack one part or another: what are depth, non-linearity and pooling for?"""

from __future__ import annotations

from tritoncnn.data.ink import SIZE, read_ink
from tritoncnn.flags import Rule, option
from tritoncnn.models.stack import ACTIVATIONS, POOLS, WIDTHS, Full, Stack
from tritoncnn.task import Recipe
from tritoncnn.tasks.kinds.baselines import nearest_picture
from tritoncnn.tasks.kinds.classification import classification

MOST = len(WIDTHS)

task = classification(
    name="stack",
    about="digits by a stack of filters, non-linearities and pools, or of full layers, of which each may be left out",
    models={"filters": Stack, "full": Full},
    data=("digits", "mnist", "folder"),
    read=read_ink,
    shape=(1, SIZE, SIZE),
    classes=10,
    recipe=Recipe(epochs=4, batch=64, steps=400, optimizer="sgd", lr=0.03, momentum=0.9, weight_decay=5e-4),
    recipes={},
    options=(
        option("depth", 3, "Layers before the last one.", Rule(f"from 0 to {MOST}", lambda value: 0 <= value <= MOST)),
        option("activation", "relu", "The non-linearity of each layer.", choices=tuple(ACTIVATIONS)),
        option("pool", "max", "What halves the picture behind each layer.", choices=tuple(POOLS), of=("filters",)),
    ),
    gallery=True,
    baseline=nearest_picture,
)
