"""Label map -> photograph: Isola et al. 2017, Park et al. 2019."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tritoncnn.data import Facts, Targets
from tritoncnn.data.label_maps import MapReader, numbers
from tritoncnn.data.mask_files import view_mask
from tritoncnn.errors import InputError
from tritoncnn.models.pix2pix import Pix2Pix
from tritoncnn.models.spade import SpadeGenerator
from tritoncnn.task import Example, Metric, Recipe, Side, Task
from tritoncnn.tasks.kinds.adversarial import ADVERSARIAL
from tritoncnn.tasks.kinds.synthesis import (
    best_rival,
    draw_made,
    draw_map,
    in_colours,
    mean_difference,
    palette,
    tell_made,
    texture_distance,
)  # fmt: skip

SIDE, STEP = 64, 16
RECIPE = Recipe(epochs=5, batch=8, steps=600, optimizer="adam", lr=0.001, momentum=0.0, weight_decay=0.0)


def _for_labels(build: Callable[[int], torch.nn.Module]) -> Callable[[Facts], torch.nn.Module]:
    def build_from(facts: Facts) -> torch.nn.Module:
        if len(facts.classes) < 2:
            raise InputError(f"classes must be a list of 2 or more names; got {list(facts.classes)}")
        return build(len(facts.classes))

    return build_from


def example(batch: int) -> Example:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, (batch, SIDE, SIDE), generator=generator).float()
    return Example(x, torch.rand(batch, 3, SIDE, SIDE, generator=generator), Facts(("sky", "roof", "wall"), (), ()))


def view(path: Path) -> Image.Image:
    """A map in colours."""
    values = view_mask(path)
    if values.ndim == 3:
        return Image.fromarray(values.astype(np.uint8))
    ids = numbers(values.astype(np.uint8))
    return Image.fromarray(in_colours(ids, palette(int(ids.max()) + 1)))


task = Task(
    name="synthesis",
    about="photographs from label maps, by pix2pix or SPADE, against a patch discriminator under spectral norm",
    models={"pix2pix": _for_labels(Pix2Pix), "spade": _for_labels(SpadeGenerator)},
    data=("colour-maps", "digit-maps", "label-maps", "joined-maps"),
    loss=ADVERSARIAL,
    metrics={"L1": Metric(mean_difference, error=True), "texture": Metric(texture_distance, error=True)},
    best="texture",
    example=example,
    read=MapReader(SIDE),
    sides={"pix2pix": Side(SIDE, 2 * STEP, STEP), "spade": Side(SIDE, 2 * STEP, STEP)},
    answer=tell_made,
    view=view,
    recipe=RECIPE,
    recipes={"digit-maps": replace(RECIPE, epochs=3)},
    targets=Targets.MAPS,
    pictures={"made.png": draw_made, "map.png": draw_map},
    baseline=best_rival,
)
