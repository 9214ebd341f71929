"""What each pixel is of: Long et al. 2015, Badrinarayanan et al. 2015, Chen et al. 2017."""

from __future__ import annotations

from dataclasses import replace

import torch

from tritoncnn.data import Facts, Targets
from tritoncnn.data.boxes import FittedReader, fitted
from tritoncnn.data.mosaics import CLASSES
from tritoncnn.models import deeplab, fcn, segnet
from tritoncnn.models.deeplab import DeepLab
from tritoncnn.models.fcn import FCN
from tritoncnn.models.segnet import SegNet
from tritoncnn.task import Ask, Example, Metric, Recipe, Side, Task
from tritoncnn.tasks.kinds.dense import (
    LEAST,
    draw_confusion,
    draw_masks,
    for_classes,
    likeliest_by_grey,
    mean_iou,
    pixel_accuracy,
    segmentation_loss,
    tell_ious,
    tell_masks,
)

SIDE = 64
MODELS = {"fcn": (FCN, fcn.STEP), "segnet": (SegNet, segnet.STEP), "deeplab": (DeepLab, deeplab.STEP)}
RECIPE = Recipe(epochs=6, batch=16, steps=500, optimizer="adamw", lr=0.005, momentum=0.0, weight_decay=0.01)


def example(batch: int) -> Example:
    y = torch.zeros(batch, SIDE, SIDE, dtype=torch.int64)
    y[:, : SIDE // 2] = 1
    return Example(torch.zeros(batch, 3, SIDE, SIDE), y, Facts(CLASSES, (0.0,) * 3, (1.0,) * 3))


task = Task(
    name="segmentation",
    about="the class of each pixel by FCN, SegNet or DeepLab, after Long 2015, Badrinarayanan 2015, Chen 2017",
    models={name: for_classes(build) for name, (build, _) in MODELS.items()},
    data=("mosaics", "coins", "masks"),
    loss=segmentation_loss,
    metrics={
        "test_loss": Metric(lambda scores, y: float(segmentation_loss(scores, y)), loss=True),
        "mIoU": Metric(mean_iou, percent=True),
        "pixel_accuracy": Metric(pixel_accuracy, percent=True),
    },
    best="mIoU",
    example=example,
    read=FittedReader(SIDE),
    sides={name: Side(SIDE, 2 * step, step) for name, (_, step) in MODELS.items()},
    answer=tell_masks(lambda width, height, across, down: fitted(width, height, max(across, down))),
    ask=Ask(20, LEAST),
    recipe=RECIPE,
    recipes={
        "segnet": replace(RECIPE, epochs=7, batch=4, steps=2000, lr=0.003),  # its classes need many steps
        "masks": Recipe(40, 16, 600, "adamw", 0.003, 0.0, 0.01, {"augment": "flip,crop,colour"}),
    },
    targets=Targets.MAPS,
    pictures={"masks.png": draw_masks, "confusion.png": draw_confusion},
    report=tell_ious,
    baseline=likeliest_by_grey,
)
