"""Digits by stacks of filters that lack one part or another: what are depth, non-linearity and pooling for?"""

from __future__ import annotations

from tritoncnn.data.ink import SIZE, read_ink
from tritoncnn.errors import InputError
from tritoncnn.flags import Rule, option
from tritoncnn.models.stack import ACTIVATIONS, POOLS, WIDTHS, Full, Pyramid, Stack
from tritoncnn.task import Recipe, Values
from tritoncnn.tasks.kinds.baselines import nearest_picture
from tritoncnn.tasks.kinds.classification import classification

MOST, MOST_PAIRS = len(WIDTHS), 32


def clash(values: Values) -> None:
    if values.get("residual") and not values["pairs"]:
        raise InputError("--residual needs --pairs of 1 or more, whose inputs are added; got 0")


task = classification(
    name="stack",
    about="digits by a stack of filters, non-linearities, pools and skips, or of full layers: each may be left out",
    models={"filters": Stack, "full": Full, "pyramid": Pyramid},
    data=("digits", "mnist", "folder"),
    read=read_ink,
    shape=(1, SIZE, SIZE),
    classes=10,
    recipe=Recipe(epochs=4, batch=64, steps=400, optimizer="sgd", lr=0.03, momentum=0.9, weight_decay=5e-4),
    recipes={},
    options=(
        option(
            "depth",
            3,
            "Layers before the last one; of pyramid, sizes of the picture.",
            Rule(f"from 0 to {MOST}", lambda value: 0 <= value <= MOST),
        ),
        option("activation", "relu", "The non-linearity of each layer.", choices=tuple(ACTIVATIONS)),
        option(
            "pool", "max", "What halves the picture behind each layer.", choices=tuple(POOLS), of=("filters", "pyramid")
        ),
        option(
            "pairs",
            0,
            "Pairs of further layers behind these, which keep size and width.",
            Rule(f"from 0 to {MOST_PAIRS}", lambda value: 0 <= value <= MOST_PAIRS),
            of=("filters",),
        ),
        option("residual", False, "Let each of the --pairs add to what comes into it.", of=("filters",)),
    ),
    clash=clash,
    gallery=True,
    baseline=nearest_picture,
)
