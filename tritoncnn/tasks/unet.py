"""The class of each pixel by a U-Net, with its skips and without: Ronneberger et al. 2015."""

from __future__ import annotations

from tritoncnn.data.cells import CLASSES
from tritoncnn.data.pieces import PieceReader, whole_size
from tritoncnn.flags import option
from tritoncnn.models.unet import STEP, UNet
from tritoncnn.task import Recipe, Side
from tritoncnn.tasks.kinds.dense import segmentation

SIDE = 64
SKIPS = option("skips", True, "Whether each level of the decoder also sees the encoder's level of its size.")

task = segmentation(
    name="unet",
    about="cells and their borders, pixel by pixel, by a U-Net with its skips or without, after Ronneberger et al. 2015",
    models={"unet": UNet},
    data=("cells", "coins", "masks"),
    classes=CLASSES,
    side=SIDE,
    read=PieceReader(SIDE),
    shape=lambda width, height, across, down: whole_size(width, height),
    sides={"unet": Side(SIDE, 2 * STEP, STEP)},
    recipe=Recipe(epochs=5, batch=16, steps=180, optimizer="adamw", lr=0.005, momentum=0.0, weight_decay=0.01),
    recipes={"masks": Recipe(40, 16, 600, "adamw", 0.003, 0.0, 0.01, {"augment": "flip,colour"})},
    options=(SKIPS,),
)
