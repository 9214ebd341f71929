"""Depth at each pixel of one picture, by an encoder-decoder with shortcuts: Eigen et al. 2014, Laina et al. 2016."""

from __future__ import annotations

import torch

from tritoncnn.data import Facts, Targets
from tritoncnn.data.boxes import FittedReader
from tritoncnn.models.depthnet import DepthNet
from tritoncnn.task import Example, Metric, Recipe, Side, Task
from tritoncnn.tasks.kinds.depth import abs_rel, delta1, depth_loss, mean_depth, rmse, tell_depths
from tritoncnn.tasks.kinds.depth_pictures import draw_depths, tell_depth

SIDE = 64
WIDE = (32, 64, 128, 256)
RECIPE = Recipe(
    epochs=14,
    batch=16,
    steps=600,
    optimizer="adamw",
    lr=0.003,
    momentum=0.0,
    weight_decay=0.01,
    flags={"augment": "flip"},
)


def example(batch: int) -> Example:
    return Example(torch.zeros(batch, 3, SIDE, SIDE), torch.ones(batch, SIDE, SIDE), Facts((), (0.0,) * 3, (1.0,) * 3))


task = Task(
    name="depth",
    about="how far is what: depth at each pixel of one picture, after Eigen et al. 2014 and Laina et al. 2016",
    models={
        "depthnet": lambda facts: DepthNet(len(facts.mean)),
        "depthnet-wide": lambda facts: DepthNet(len(facts.mean), WIDE),
    },
    data=("rooms", "depths", "motorcycle"),
    loss=depth_loss,
    metrics={
        "test_loss": Metric(lambda logs, depth: float(depth_loss(logs, depth)), loss=True),
        "delta1": Metric(delta1, percent=True),
        "abs_rel": Metric(abs_rel, error=True),
        "rmse": Metric(rmse, error=True),
    },
    best="delta1",
    example=example,
    read=FittedReader(SIDE),
    sides={"depthnet": Side(usual=SIDE, least=32), "depthnet-wide": Side(usual=128, least=32)},
    answer=tell_depth,
    targets=Targets.MAPS,
    recipe=RECIPE,
    recipes={"depths": Recipe(30, 16, 600, "adamw", 0.003, 0.0, 0.01, {"augment": "flip,colour"})},
    pictures={"depths.png": draw_depths},
    report=tell_depths,
    baseline=mean_depth,
)
