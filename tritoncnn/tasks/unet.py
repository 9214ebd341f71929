"""The class of each pixel by a U-Net, with its skips and without: Ronneberger et al. 2015."""

from __future__ import annotations

import torch

from tritoncnn.data import Facts, Targets
from tritoncnn.data.cells import CLASSES
from tritoncnn.data.pieces import PieceReader, whole_size
from tritoncnn.flags import option
from tritoncnn.models.unet import STEP, UNet
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
SKIPS = option("skips", True, "Whether each level of the decoder also sees the encoder's level of its size.")


def example(batch: int) -> Example:
    y = torch.zeros(batch, SIDE, SIDE, dtype=torch.int64)
    y[:, : SIDE // 2] = 1
    return Example(torch.zeros(batch, 3, SIDE, SIDE), y, Facts(CLASSES, (0.0,) * 3, (1.0,) * 3))


task = Task(
    name="unet",
    about="cells and their borders, pixel by pixel, by a U-Net with its skips or without, after Ronneberger et al. 2015",
    models={"unet": for_classes(UNet)},
    data=("cells", "coins", "masks"),
    loss=segmentation_loss,
    metrics={
        "test_loss": Metric(lambda scores, y: float(segmentation_loss(scores, y)), loss=True),
        "mIoU": Metric(mean_iou, percent=True),
        "pixel_accuracy": Metric(pixel_accuracy, percent=True),
    },
    best="mIoU",
    example=example,
    read=PieceReader(SIDE),
    sides={"unet": Side(SIDE, 2 * STEP, STEP)},
    answer=tell_masks(lambda width, height, across, down: whole_size(width, height)),
    ask=Ask(20, LEAST),
    recipe=Recipe(epochs=5, batch=16, steps=180, optimizer="adamw", lr=0.005, momentum=0.0, weight_decay=0.01),
    recipes={"masks": Recipe(40, 16, 600, "adamw", 0.003, 0.0, 0.01, {"augment": "flip,colour"})},
    options=(SKIPS,),
    targets=Targets.MAPS,
    pictures={"masks.png": draw_masks, "confusion.png": draw_confusion},
    report=tell_ious,
    baseline=likeliest_by_grey,
)
