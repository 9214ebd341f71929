"""Parts, depth and colour of one grey picture: the loss of the heads that a net has, and the measures of each.

A head that a net has not answers as if it knew nothing: every pixel is of the first part, one metre away, and grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from tritoncnn.data import IGNORED, Examples, Facts
from tritoncnn.data.define import Array
from tritoncnn.data.rooms_parts import to_rgb
from tritoncnn.figure import new_figure, plain, show, to_png
from tritoncnn.task import Baseline, Values
from tritoncnn.tasks.kinds.depth import delta1, depth_loss, mean_logs
from tritoncnn.tasks.kinds.depth_pictures import EDGES, coloured

Maps = Mapping[str, torch.Tensor]
WEIGHTS = {
    "parts": 1.0,
    "depth": 4.0,
    "colour": 60.0,
}  # of the losses in their sum: at the end of training they are alike
NEAR = 0.06  # a colour is right that is nearer to the true one; white and black are 1 apart
SHOWN = 6  # test pictures that are drawn
PALETTE = ("#8c6d46", "#f2efe6", "#8fb2d6", "#9b59b6", "#ff6b35", "#4fb09a")  # of parts


def each_loss(outputs: Maps, target: Maps) -> dict[str, torch.Tensor]:
    """Cross-entropy of parts; the scale-invariant loss of depth; the mean squared error of colour."""
    losses: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
        "parts": lambda said, true: F.cross_entropy(said, true, ignore_index=IGNORED),
        "depth": depth_loss,
        "colour": F.mse_loss,
    }
    return {name: losses[name](outputs[name], target[name]) for name in losses if name in outputs}


def summed_loss(outputs: Maps, target: Maps) -> torch.Tensor:
    """The weighted sum over the heads that there are."""
    parts = [WEIGHTS[name] * loss for name, loss in each_loss(outputs, target).items()]
    return torch.stack(parts).sum()


def has(head: str, values: Values) -> bool:
    """Whether nets with these values of the task's options have a head."""
    return values["heads"] == "all" or head in values["heads"].split("+")


def classes_of(outputs: Maps, target: Maps) -> torch.Tensor:
    """i64[N,H,W]"""
    return outputs["parts"].argmax(1) if "parts" in outputs else torch.zeros_like(target["parts"])


def miou(outputs: Maps, target: Maps) -> float:
    """Mean over the parts that there are of: pixels that are of a part and said to be, of those that are one or the other."""
    return iou_of(classes_of(outputs, target), target["parts"])


def iou_of(said: torch.Tensor, true: torch.Tensor) -> float:
    known = true != IGNORED
    said, true = said[known], true[known]
    shares = []
    for label in true.unique().tolist():
        both = int(((said == label) & (true == label)).sum())
        shares.append(both / int(((said == label) | (true == label)).sum()))
    return sum(shares) / len(shares) if shares else 0.0


def depth_delta1(outputs: Maps, target: Maps) -> float:
    """Share of pixels whose depth is right to a quarter."""
    return delta1(outputs.get("depth", torch.zeros_like(target["depth"])), target["depth"])


def near_colour(outputs: Maps, target: Maps) -> float:
    """Share of pixels whose colour is within NEAR of the true one."""
    true = target["colour"]
    return colours_near(outputs.get("colour", torch.zeros_like(true)), true)


def colours_near(said: torch.Tensor, true: torch.Tensor) -> float:
    return float((torch.linalg.vector_norm((said - true).double(), dim=1) < NEAR).double().mean())


MEASURES = {"parts": miou, "depth": depth_delta1, "colour": near_colour}


def score(outputs: Maps, target: Maps) -> float:
    """The mean of mIoU, delta1 and near_colour over the heads that there are."""
    found = [measure(outputs, target) for name, measure in MEASURES.items() if name in outputs]
    return sum(found) / len(found)


def constant_maps(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline:
    """The score of one answer for all pictures, of the heads that a net has: each pixel's usual part, mean depth, mean colour."""
    constant = {
        "parts": ("usual part", miou_of_usual),
        "depth": ("mean depth", depth_of_mean),
        "colour": ("mean colour", colour_of_mean),
    }
    found = {words: measure(facts, train, test) for name, (words, measure) in constant.items() if has(name, own)}
    *most, last = found
    words = f"each pixel's {' and '.join([', '.join(most)] * bool(most) + [last])}"
    each = f" ({', '.join(f'{value:.2%}' for value in found.values())})" if most else ""
    return Baseline(words + each, math.fsum(found.values()) / len(found))


def miou_of_usual(facts: Facts, train: Examples, test: Examples) -> float:
    counts = torch.stack([(train.y["parts"] == label).sum(0) for label in range(len(facts.classes))])
    return iou_of(counts.argmax(0).expand_as(test.y["parts"]), test.y["parts"])


def depth_of_mean(facts: Facts, train: Examples, test: Examples) -> float:
    return delta1(mean_logs(train.y["depth"]).expand_as(test.y["depth"]), test.y["depth"])


def colour_of_mean(facts: Facts, train: Examples, test: Examples) -> float:
    mean = train.y["colour"].double().mean(0, keepdim=True).float()
    return colours_near(mean.expand_as(test.y["colour"]), test.y["colour"])


def painted(classes: Array | np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """u8[H,W,3]: a map of parts in their colours."""
    palette = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in PALETTE], np.uint8)
    found: np.ndarray[Any, np.dtype[np.uint8]] = palette[np.asarray(classes, np.int64) % len(palette)]
    return found


def draw_answers(outputs: Maps, examples: Examples, facts: Facts) -> bytes:
    """Test pictures in grey, and of each head what it says above what is true, as a PNG."""
    rows = torch.linspace(0, len(examples) - 1, min(SHOWN, len(examples))).long().tolist()
    names = [name for name in MEASURES if name in outputs]
    figure = new_figure(1.35 * len(rows) + 0.6, 1.4 * (1 + 2 * len(names)) + 0.2)
    lines = figure.subplots(1 + 2 * len(names), len(rows), squeeze=False)
    for column, row in enumerate(rows):
        grey = facts.restore(examples.x[row])
        show(lines[0, column], grey)
        for number, name in enumerate(names):
            true = examples.y[name][row].numpy()
            said = outputs[name][row].float().numpy()
            for line, values, is_true in ((1 + 2 * number, said, False), (2 + 2 * number, true, True)):
                shown = _picture(name, values, is_true, grey, true)
                lines[line, column].imshow(shown, interpolation="nearest")
                lines[line, column].set_axis_off()
    words = ["picture", *(f"{name},\n{what}" for name in names for what in ("said", "true"))]
    for axes, word in zip(lines[:, 0], words, strict=True):
        axes.text(-0.08, 0.5, word, transform=axes.transAxes, rotation=90, ha="right", va="center", fontsize=7)
    if "parts" in names:
        from matplotlib.patches import Patch  # late: half a second

        colours = [Patch(color=PALETTE[i % len(PALETTE)], label=plain(name)) for i, name in enumerate(facts.classes)]
        figure.legend(handles=colours, loc="outside lower center", ncols=3, fontsize=7)
    return to_png(figure)


def _picture(name: str, values: Array, is_true: bool, grey: Array, true: Array) -> np.ndarray[Any, Any]:
    """RGB of a map, a head's or the true one."""
    if name == "parts":
        return painted(values if is_true else values.argmax(0))
    if name == "depth":
        near, far = np.percentile(true[true > 0] if (true > 0).any() else np.ones(1), EDGES)
        return coloured(values if is_true else np.exp(values), near, far)
    return np.clip(to_rgb(grey, values[None])[0].transpose(1, 2, 0), 0, 1)
