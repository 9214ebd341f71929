"""Cars in lidar scans by PointPillars: Lang et al. 2019."""

from __future__ import annotations

import torch

from tritoncnn.data import Facts
from tritoncnn.data.inputs import Kind
from tritoncnn.data.scan import SUFFIXES, ScanReader
from tritoncnn.models.pointpillars import SMALL, pillars
from tritoncnn.task import Ask, Example, Metric, Recipe, Task
from tritoncnn.tasks.kinds.birdseye import answer, draw_scans, view_file
from tritoncnn.tasks.kinds.boxes3d import SHOWN, loss, measured
from tritoncnn.tasks.kinds.clusters import cluster_boxes

POINTS = 8192  # of a scan


def example(batch: int) -> Example:
    y = torch.zeros(batch, 8, 8)
    y[:, 0] = torch.tensor((10.0, 0.0, -1.0, 3.9, 1.6, 1.56, 0.0, 1.0))
    return Example(torch.zeros(batch, POINTS, 4), y, Facts(("car",), (), ()))


task = Task(
    name="pillars",
    about="cars in lidar scans, as boxes in space, by PointPillars, after Lang et al. 2019",
    models={"pillars": lambda facts: pillars()},
    data=("streets", "kitti"),
    loss=loss,
    metrics={
        "test_loss": Metric(lambda found, target: float(loss(found, target)), loss=True),
        "bev_ap50": Metric(measured("bev_ap50"), percent=True),
        "bev_ap70": Metric(measured("bev_ap70"), percent=True),
        "ap50": Metric(measured("ap50"), percent=True),
        "ap70": Metric(measured("ap70"), percent=True),
        "heading": Metric(measured("heading"), percent=True),
    },
    best="bev_ap50",
    example=example,
    read=ScanReader(SMALL.lower, SMALL.upper, POINTS),
    takes=Kind("scan", SUFFIXES),
    view=view_file,
    answer=answer,
    ask=Ask(100, SHOWN),
    pictures={"scans.png": draw_scans},
    baseline=cluster_boxes,
    recipe=Recipe(epochs=12, batch=8, steps=600, optimizer="adamw", lr=0.003, momentum=0.0, weight_decay=0.01),
    recipes={
        "kitti": Recipe(epochs=40, batch=8, steps=600, optimizer="adamw", lr=0.003, momentum=0.0, weight_decay=0.01)
    },
)
