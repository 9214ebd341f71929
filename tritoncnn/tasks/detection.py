"""Boxes around a number of things that is not known before: Tian et al. 2019."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tritoncnn.data import Facts, Targets
from tritoncnn.data.boxes import FittedReader
from tritoncnn.errors import InputError
from tritoncnn.models.fcos import fcos_resnet50, fcos_small
from tritoncnn.task import Ask, Example, Metric, Recipe, Side, Task
from tritoncnn.tasks.kinds.detection import MOST, SCORE, draw_gallery, map50, map50_95, tell_boxes, tell_precisions
from tritoncnn.tasks.kinds.one_stage import one_stage_loss
from tritoncnn.tasks.kinds.templates import laid_over

SIDE = 96
FILES = ("coco", "voc", "yolo")
RECIPE = Recipe(
    epochs=8, batch=16, steps=400, optimizer="adamw", lr=0.003, momentum=0.0, weight_decay=0.02, flags={"clip": 10.0}
)


def _for_classes(build: Callable[[int, int], torch.nn.Module]) -> Callable[[Facts], torch.nn.Module]:
    def build_from(facts: Facts) -> torch.nn.Module:
        if not facts.classes:
            raise InputError("classes must be a list of 1 or more names; got []")
        return build(len(facts.classes), len(facts.mean))

    return build_from


def example(batch: int) -> Example:
    y = torch.full((batch, 6, 5), -1.0)
    y[:, 0] = torch.tensor([0, 0.25, 0.25, 0.75, 0.75])
    return Example(torch.zeros(batch, 3, SIDE, SIDE), y, Facts(tuple(map(str, range(10))), (0.0,) * 3, (1.0,) * 3))


task = Task(
    name="detection",
    about="where is what, and how many: boxes by FCOS, one stage and no anchors, after Tian et al. 2019",
    models={"fcos-small": _for_classes(fcos_small), "fcos-resnet50": _for_classes(fcos_resnet50)},
    data=("pasted", *FILES),
    loss=one_stage_loss,
    metrics={
        "test_loss": Metric(lambda outputs, y: float(one_stage_loss(outputs, y)), loss=True),
        "mAP50": Metric(map50, percent=True),
        "mAP50_95": Metric(map50_95, percent=True),
    },
    best="mAP50",
    example=example,
    read=FittedReader(SIDE),
    sides={"fcos-small": Side(usual=SIDE, least=32), "fcos-resnet50": Side(usual=512, least=128)},
    answer=tell_boxes,
    ask=Ask(MOST, SCORE),
    targets=Targets.BOXES,
    recipe=RECIPE,
    pictures={"found.png": draw_gallery},
    report=tell_precisions,
    baseline=laid_over,
)
