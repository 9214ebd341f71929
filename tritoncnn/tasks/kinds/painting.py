"""What nets that paint in one style share: losses by a frozen net of random filters, their measure, answers that are pictures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from tritoncnn.data import Examples, Facts
from tritoncnn.data.canvas import FILTERS, LEVELS, new_features
from tritoncnn.errors import InputError
from tritoncnn.figure import new_figure, show, to_png
from tritoncnn.flags import AT_LEAST_1, FROM_0, option
from tritoncnn.models.perceptual import content_loss, gram, style_loss, total_variation
from tritoncnn.models.style_net import StyleNet
from tritoncnn.task import Answer, Ask, Baseline, Values

SHOWN = 8  # test pictures that are drawn
OPTIONS = (
    option("style_weight", 100.0, "Weight of the style loss.", FROM_0),
    option("content_weight", 10.0, "Weight of the content loss.", FROM_0),
    option("variation_weight", 10.0, "Weight of the total variation.", FROM_0),
)

NET = (
    option("channels", 16, "Of the net's first layer; the paper has 32.", AT_LEAST_1),
    option("blocks", 3, "Residual blocks; the paper has 5.", AT_LEAST_1),
)


def clash(values: Values) -> None:
    if not values["style_weight"] and not values["content_weight"]:
        raise InputError("--style-weight and --content-weight are both 0: there is nothing to learn")


def build(facts: Facts, channels: int = 16, blocks: int = 3) -> StyleNet:
    return StyleNet(channels, blocks)


def grams_like(batch: int) -> list[torch.Tensor]:
    """Gram matrices f32[N,K,K] of no style, for an example."""
    return [torch.eye(FILTERS).expand(batch, -1, -1) for _ in range(LEVELS)]


def painted(
    features: torch.nn.Module,
    outputs: torch.Tensor,
    frames: torch.Tensor,
    grams: list[torch.Tensor],
    values: Mapping[str, Any],
) -> dict[str, torch.Tensor]:
    """The losses of outputs f32[N,3,H,W] that shall show ``frames`` in the style of ``grams`` f32[N,K,K], and their sum."""
    maps = features(outputs)
    style = style_loss([gram(m) for m in maps.style], grams)
    content = content_loss(maps.content, features(frames).content)
    variation = total_variation(outputs)
    total = values["style_weight"] * style + values["content_weight"] * content + values["variation_weight"] * variation
    return {"loss": total, "style": style, "content": content}


def style_of(outputs: torch.Tensor, targets: Any) -> float:
    """The style loss of all outputs f32[N,3T,H,W]."""
    frames = outputs.unflatten(1, (-1, 3))
    with torch.no_grad():
        losses = [
            style_loss([gram(m) for m in new_features()(frames[:, number]).style], targets["style"])
            for number in range(frames.shape[1])
        ]
    return float(torch.stack(losses).mean())


def content_of(outputs: torch.Tensor, targets: Any) -> float:
    """The content loss of all outputs f32[N,3T,H,W]."""
    pictures, wanted = (x.reshape(-1, 3, *x.shape[2:]) for x in (outputs, targets["content"]))
    with torch.no_grad():
        features = new_features()
        return float(content_loss(features(pictures).content, features(wanted).content))


def untouched(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline:
    """The style loss of the pictures as they are."""
    return Baseline("the pictures as they are", style_of(test.x, test.y))


def as_picture(outputs: torch.Tensor, facts: Facts, ask: Ask) -> list[Answer]:
    """Each output f32[3T,H,W] from 0 to 1 as a picture, its first frame."""
    answers = []
    for output in outputs:
        picture = to_image(output[:3])
        said = f"painted, {picture.width} x {picture.height} pixels; --out DIR writes it"
        answers.append(Answer({"size": [picture.width, picture.height]}, (said,), draw=partial(_instead, picture)))
    return answers


def _instead(painted: Image.Image, shown: Image.Image) -> Image.Image:
    """What is shown as the answer on a picture: the painted one, in its own size."""
    return painted


def to_image(output: torch.Tensor) -> Image.Image:
    """The RGB picture of f32[3,H,W] from 0 to 1."""
    return Image.fromarray(np.rint(output.permute(1, 2, 0).clamp(0, 1).numpy() * 255).astype(np.uint8))


def draw_painted(outputs: torch.Tensor, examples: Examples, facts: Facts) -> bytes:
    """A PNG: test pictures above, what the net makes of them below."""
    count = min(SHOWN, len(outputs))
    figure = new_figure(1.5 * count, 3.2)
    for number in range(count):
        for line, (what, picture) in enumerate((("a test picture", examples.x[number]), ("painted", outputs[number]))):
            axes = figure.add_subplot(2, count, line * count + number + 1)
            show(axes, picture[:3].numpy(), what)
    return to_png(figure)
