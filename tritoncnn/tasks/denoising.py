"""Photographs without their noise, by a U-Net with its skips or without: Ronneberger et al. 2015, Zhang et al. 2017."""

from __future__ import annotations

import torch

from tritoncnn.data import Facts, Targets
from tritoncnn.data.noisy import AS_THEY_ARE
from tritoncnn.data.pieces import PieceReader
from tritoncnn.models.unet import STEP, UNet
from tritoncnn.task import Example, Metric, Recipe, Side, Task
from tritoncnn.tasks.kinds.denoise import best_filter, denoising_loss, draw_pieces, psnr, tell_clean, tell_noise
from tritoncnn.tasks.unet import SKIPS

SIDE = 48


def build(facts: Facts, skips: bool = True) -> torch.nn.Module:
    """The input itself is the outermost skip."""
    return UNet(len(facts.mean), len(facts.mean), skips, residual=skips)


def example(batch: int) -> Example:
    y = torch.rand(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return Example((y + 0.1).clamp(0, 1), y, AS_THEY_ARE)


task = Task(
    name="denoising",
    about="photographs without their noise, by a U-Net with its skips or without, after Zhang et al. 2017",
    models={"unet": build},
    data=("noisy", "noisy-folder"),
    loss=denoising_loss,
    metrics={
        "test_loss": Metric(lambda found, clean: float(denoising_loss(found, clean)), loss=True),
        "PSNR": Metric(psnr),
    },
    best="PSNR",
    example=example,
    read=PieceReader(SIDE),
    sides={"unet": Side(SIDE, 2 * STEP, STEP)},
    answer=tell_clean,
    recipe=Recipe(epochs=10, batch=16, steps=600, optimizer="adamw", lr=0.003, momentum=0.0, weight_decay=0.0),
    options=(SKIPS,),
    targets=Targets.COLOURS,
    pictures={"pieces.png": draw_pieces},
    report=tell_noise,
    baseline=best_filter,
)
