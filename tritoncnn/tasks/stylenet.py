"""A net that paints any picture in one style, in one pass: Johnson et al. 2016."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tritoncnn.data.canvas import NOTHING, PATCH, new_features
from tritoncnn.data.whole import WholeReader
from tritoncnn.models.style_net import LEAST
from tritoncnn.task import Example, Losses, Metric, Recipe, Step, Task
from tritoncnn.tasks.kinds.painting import (
    NET,
    OPTIONS,
    as_picture,
    build,
    clash,
    content_of,
    draw_painted,
    grams_like,
    painted,
    style_of,
    untouched,
)


def example(batch: int) -> Example:
    x = torch.zeros(batch, 3, PATCH.default, PATCH.default)
    return Example(x, {"style": grams_like(batch), "content": x}, NOTHING)


def losses(values: Mapping[str, Any]) -> Losses:
    def compute(nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        return painted(nets.features, nets.model(batch.x), batch.x, batch.y["style"], values)

    return compute


task = Task(
    name="stylenet",
    about="pictures painted in one style by a net in one pass, after Johnson et al. 2016",
    models={"johnson": build},
    data=("patches", "pictures"),
    loss=Step(
        losses=losses,
        tells=("style", "content"),
        nets={"features": lambda facts, values: new_features()},
        options=OPTIONS,
    ),
    metrics={"style_loss": Metric(style_of, error=True), "content_loss": Metric(content_of, error=True)},
    best="style_loss",
    example=example,
    read=WholeReader(LEAST),
    answer=as_picture,
    recipe=Recipe(epochs=3, batch=4, steps=600, optimizer="adam", lr=0.005, momentum=0.0, weight_decay=0.0),
    options=NET,
    clash=clash,
    pictures={"painted.png": draw_painted},
    baseline=untouched,
)
