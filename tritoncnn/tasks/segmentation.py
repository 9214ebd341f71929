"""What each pixel is of: Long et al. 2015, Badrinarayanan et al. 2015, Chen et al. 2017."""

from __future__ import annotations

from dataclasses import replace

from tritoncnn.data.boxes import FittedReader, fitted
from tritoncnn.data.mosaics import CLASSES
from tritoncnn.models import deeplab, fcn, segnet
from tritoncnn.models.deeplab import DeepLab
from tritoncnn.models.fcn import FCN
from tritoncnn.models.segnet import SegNet
from tritoncnn.task import Recipe, Side
from tritoncnn.tasks.kinds.dense import segmentation

SIDE = 64
STEPS = {"fcn": fcn.STEP, "segnet": segnet.STEP, "deeplab": deeplab.STEP}
RECIPE = Recipe(epochs=6, batch=16, steps=500, optimizer="adamw", lr=0.005, momentum=0.0, weight_decay=0.01)

task = segmentation(
    name="segmentation",
    about="the class of each pixel by FCN, SegNet or DeepLab, after Long 2015, Badrinarayanan 2015, Chen 2017",
    models={"fcn": FCN, "segnet": SegNet, "deeplab": DeepLab},
    data=("mosaics", "coins", "masks"),
    classes=CLASSES,
    side=SIDE,
    read=FittedReader(SIDE),
    shape=lambda width, height, across, down: fitted(width, height, max(across, down)),
    sides={name: Side(SIDE, 2 * step, step) for name, step in STEPS.items()},
    recipe=RECIPE,
    recipes={
        "segnet": replace(RECIPE, epochs=7, batch=4, steps=2000, lr=0.003),  # its classes need many steps
        "masks": Recipe(40, 16, 600, "adamw", 0.003, 0.0, 0.01, {"augment": "flip,crop,colour"}),
    },
)
