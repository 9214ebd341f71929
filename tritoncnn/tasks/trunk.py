"""Parts, depth and colour of a grey picture by one encoder with three decoders, or by any of them alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from tritoncnn.data import Facts, Targets
from tritoncnn.data.chambers import PARTS
from tritoncnn.data.define import Array
from tritoncnn.data.depths import write_depth
from tritoncnn.data.rooms_parts import GreyReader, to_rgb
from tritoncnn.errors import InputError
from tritoncnn.figure import as_png
from tritoncnn.flags import option
from tritoncnn.models.trunk import HEADS, Trunk
from tritoncnn.task import Answer, Ask, Example, Metric, Recipe, Side, Task
from tritoncnn.tasks.kinds.depth_pictures import EDGES, coloured, own_pixels
from tritoncnn.tasks.kinds.three_answers import (
    constant_maps,
    depth_delta1,
    draw_answers,
    has,
    miou,
    near_colour,
    painted,
    score,
    summed_loss,
)
from tritoncnn.tree import Fields

SIDE = 64
CHOICES = ("all", *HEADS, "parts+depth", "parts+colour", "depth+colour")


def build(facts: Facts, heads: str = "all") -> torch.nn.Module:
    if not facts.classes:
        raise InputError("classes must be a list of 1 or more names; got []")
    return Trunk(len(facts.mean), len(facts.classes), HEADS if heads == "all" else heads.split("+"))


def example(batch: int) -> Example:
    y = Fields(
        parts=torch.zeros(batch, SIDE, SIDE, dtype=torch.int64),
        depth=torch.ones(batch, SIDE, SIDE),
        colour=torch.zeros(batch, 2, SIDE, SIDE),
    )
    return Example(torch.zeros(batch, 1, SIDE, SIDE), y, Facts(PARTS, (0.0,), (1.0,)))


def tell(outputs: Any, facts: Facts, ask: Ask) -> list[Answer]:
    """Of each picture the parts by their share of it, and the range of depths; maps as files as soon as its size is known."""
    count = len(next(iter(outputs.values())))
    return [
        _answer({name: values[i].float().numpy() for name, values in outputs.items()}, facts, None)
        for i in range(count)
    ]


def _answer(found: dict[str, Array], facts: Facts, size: tuple[int, int] | None) -> Answer:
    """``size``: width and height of the picture, where they are known."""
    note: dict[str, Any] = {}
    lines, maps = [], _cut(found, size)
    if "parts" in maps:
        counts = np.bincount(maps["parts"].argmax(0).ravel(), minlength=len(facts.classes)) / maps["parts"][0].size
        note["parts"] = {name: round(float(share), 4) for name, share in zip(facts.classes, counts, strict=True)}
        lines.append(
            ", ".join(f"{name} {share:.0%}" for name, share in zip(facts.classes, counts, strict=True) if share)
        )
    if "depth" in maps:
        near, far = float(np.exp(maps["depth"].min())), float(np.exp(maps["depth"].max()))
        note["depth"] = {"near": round(near, 3), "far": round(far, 3)}
        lines.append(f"from {near:.2f} to {far:.2f} m")
    if "colour" in maps:
        strength = float(np.linalg.norm(maps["colour"], axis=0).mean())
        note["colour"] = round(strength, 4)
        lines.append(f"colours {strength:.3f} away from grey in the mean")
    if size is None:
        return Answer(note, tuple(lines), within=lambda width, height: _answer(found, facts, (width, height)))
    files = {"depth.png": partial(_depth_png, maps["depth"])} if "depth" in maps else {}
    return Answer(note, tuple(lines), draw=partial(_draw, maps=maps), files=files)


def _cut(found: dict[str, Array], size: tuple[int, int] | None) -> dict[str, Array]:
    """Maps for the pixels of the picture itself, once its size is known."""
    if size is None:
        return found
    whole = {name: values if values.ndim == 3 else values[None] for name, values in found.items()}
    cut = {name: np.stack([own_pixels(values, size) for values in planes]) for name, planes in whole.items()}
    return {name: cut[name].reshape(*values.shape[:-2], *size[::-1]) for name, values in found.items()}


def _depth_png(logs: Array) -> bytes:
    return as_png(write_depth(np.exp(logs)))


def _draw(picture: Image.Image, maps: dict[str, Array]) -> Image.Image:
    """The picture in grey, and to its right what each head says."""
    grey = picture.convert("L")
    panels = [grey.convert("RGB")]
    if "parts" in maps:
        panels.append(Image.fromarray(painted(maps["parts"].argmax(0))).resize(picture.size, Image.Resampling.NEAREST))
    if "depth" in maps:
        depth = np.exp(maps["depth"])
        panels.append(Image.fromarray(coloured(depth, *np.percentile(depth, EDGES))).resize(picture.size))
    if "colour" in maps:
        planes = [
            np.asarray(Image.fromarray(plane).resize(picture.size, Image.Resampling.BILINEAR))
            for plane in maps["colour"]
        ]
        rgb = to_rgb(np.asarray(grey, np.float32)[None] / np.float32(255), np.stack(planes)[None])[0].transpose(1, 2, 0)
        panels.append(Image.fromarray((np.clip(rgb, 0, 1) * 255).round().astype(np.uint8)))
    page = Image.new("RGB", (len(panels) * (picture.width + 4) - 4, picture.height), "white")
    for number, panel in enumerate(panels):
        page.paste(panel, (number * (picture.width + 4), 0))
    return page


task = Task(
    name="trunk",
    about="parts, depth and colour of a grey picture: one encoder, three decoders, after Caruana 1997",
    models={"trunk": build},
    data=("room-parts",),
    loss=summed_loss,
    metrics={
        "test_loss": Metric(lambda outputs, y: float(summed_loss(outputs, y)), loss=True),
        "score": Metric(score, percent=True),
        "mIoU": Metric(miou, percent=True, of=partial(has, "parts")),
        "delta1": Metric(depth_delta1, percent=True, of=partial(has, "depth")),
        "near_colour": Metric(near_colour, percent=True, of=partial(has, "colour")),
    },
    best="score",
    example=example,
    read=GreyReader(SIDE),
    sides={"trunk": Side(usual=SIDE, least=32)},
    answer=tell,
    targets=Targets.COLOURS,
    recipe=Recipe(
        epochs=6,
        batch=16,
        steps=600,
        optimizer="adamw",
        lr=0.003,
        momentum=0.0,
        weight_decay=0.01,
        flags={"augment": "flip"},
    ),
    options=(option("heads", "all", "What is learned: all three, one alone, or two.", choices=CHOICES),),
    pictures={"answers.png": draw_answers},
    baseline=constant_maps,
)
