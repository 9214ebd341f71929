"""Detection: one picture in, any number of boxes out, each with a class and a score; average precision.

Places that tell a box become finds on the host, by NumPy: that is done once a picture, on some hundred boxes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tritoncnn.boxes import (
    COCO_THRESHOLDS,
    SIZES,
    Scene,
    areas,
    average_precisions,
    mean_over,
    overlaps,
    shares_inside,
    suppress,
)
from tritoncnn.data import Examples, Facts
from tritoncnn.data.boxes import NONE, Pixels, class_of, of_crowd
from tritoncnn.errors import printable
from tritoncnn.figure import new_figure, plain, show, to_png
from tritoncnn.models.fcos import Outputs
from tritoncnn.task import Answer, Ask, Report

Numbers = NDArray[np.float64]

LEAST = 0.05  # score of a find that counts for average precision, as in the paper
BEFORE = 200  # finds of a picture, by score, that are looked at for double ones
MOST = 100  # finds of a picture that stay, as in COCO
SAME = 0.6  # finds of one class that overlap by more are one, as in the paper
SCORE = 0.4  # of a find that is shown to people
SHOWN = 12  # pictures of the gallery
COLOURS = ("#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#46f0f0", "#f032e6", "#bcf60c", "#fabebe", "#008080")


@dataclass(frozen=True)
class Finds:
    """Boxes f64[D,4] in shares of the net's side, within the picture; scores f64[D], falling; classes i64[D]."""

    boxes: Numbers
    scores: Numbers
    classes: NDArray[np.int64]

    def first(self, count: int) -> Finds:
        """For people: of finds in one place, whatever their classes, the surest; at most ``count``."""
        kept = suppress(overlaps(self.boxes, self.boxes), self.scores, np.zeros_like(self.classes), SAME, count)
        return Finds(self.boxes[kept], self.scores[kept], self.classes[kept])


def find(outputs: Outputs, least: float = LEAST) -> list[Finds]:
    """What is found in each picture with at least this score: the root of probability times centre-ness."""
    scores = torch.sqrt(torch.sigmoid(outputs.logits) * torch.sigmoid(outputs.centres)[..., None]).double().numpy()
    boxes = outputs.boxes.double().clamp(0, 1).numpy()
    return [_find(*rows, least) for rows in zip(boxes, scores, strict=True)]


def _find(boxes: Numbers, scores: Numbers, least: float) -> Finds:
    """boxes [P,4], scores [P,classes]"""
    rows, labels = np.nonzero(scores >= least)
    order = np.argsort(-scores[rows, labels], kind="stable")[:BEFORE]
    rows, labels = rows[order], labels[order]
    near, sure = boxes[rows], scores[rows, labels]
    kept = suppress(overlaps(near, near), sure, labels, SAME, MOST)
    return Finds(near[kept], sure[kept], labels[kept])


def scenes_of(found: Sequence[Finds], y: torch.Tensor, pixels: Pixels | None = None) -> list[Scene]:
    """Finds against true boxes, crowds and difficult things f32[N,M,5]; the latter two count neither way (``Scene.crowd``)."""
    scenes = []
    for number, (finds, rows) in enumerate(zip(found, y.double().numpy(), strict=True)):
        there = rows[:, 0] != NONE
        true, sizes = rows[there], None
        if pixels is not None:
            sizes = areas(finds.boxes) * float(pixels.longer[number]) ** 2, pixels.areas[number].numpy()[there]
        marks, boxes = true[:, 0], true[:, 1:]
        how = np.where(of_crowd(marks), shares_inside(finds.boxes, boxes), overlaps(finds.boxes, boxes))
        scenes.append(Scene(how, finds.scores, finds.classes, class_of(marks), marks < 0, sizes))
    return scenes


def precisions(found: Sequence[Finds], y: torch.Tensor, thresholds: Sequence[float], classes: int) -> Numbers:
    """AP of each class at each threshold, f64[T,classes]."""
    return average_precisions(scenes_of(found, y), classes, thresholds)


def map50(outputs: Outputs, y: torch.Tensor) -> float:
    """Mean AP over classes; a find is right that overlaps by half."""
    return mean_over(precisions(find(outputs), y, (0.5,), outputs.logits.shape[-1]))


def map50_95(outputs: Outputs, y: torch.Tensor) -> float:
    """Mean AP over classes and over the overlaps 0.5, 0.55... 0.95."""
    return mean_over(precisions(find(outputs), y, COCO_THRESHOLDS, outputs.logits.shape[-1]))


def tell_precisions(outputs: Outputs, examples: Examples, facts: Facts) -> Report:
    """AP of each class; and of things of each size as COCO parts them, where pictures are known by their own pixels."""
    y, pixels = examples.y, examples.beside
    scenes = scenes_of(find(outputs), y, pixels)
    aps = average_precisions(scenes, len(facts.classes))
    counts = np.bincount(y[..., 0][y[..., 0] >= 0].long().numpy(), minlength=len(facts.classes)).tolist()
    wide = max(*map(len, facts.classes), *map(len, SIZES), len("class"))
    rows = [
        _row("class", name, count, column[0], column.mean())
        for name, count, column in zip(facts.classes, counts, aps.T, strict=True)
    ]
    lines = ["", f"{'class':{wide}}  boxes     AP50  AP50-95", *(_shown(row["class"], wide, row) for row in rows)]
    if not isinstance(pixels, Pixels):
        return Report({"classes": rows}, tuple(lines))
    sizes = []
    for name, (least, most) in SIZES.items():
        count = int(((y[..., 0] >= 0) & (pixels.areas >= least) & (pixels.areas <= most)).sum())
        aps = average_precisions(scenes, len(facts.classes), size=(least, most))
        sizes.append(_row("size", name, count, mean_over(aps[:1]), mean_over(aps)))
    lines += [
        f"{'size':{wide}}  in pixels of the picture: small up to 32 x 32, large from 96 x 96",
        *(_shown(row["size"], wide, row) for row in sizes),
    ]
    return Report({"classes": rows, "sizes": sizes}, tuple(lines))


def _row(what: str, name: str, count: int, half: float, mean: float) -> dict[str, Any]:
    """AP of ``count`` true boxes; of none there is no such thing."""
    values = (float(half), float(mean)) if count else (None, None)
    return {what: name, "boxes": count, **dict(zip(("AP50", "AP50_95"), values, strict=True))}


def _shown(name: str, wide: int, row: Mapping[str, Any]) -> str:
    half, mean = ("-" if value is None else f"{value:.2%}" for value in (row["AP50"], row["AP50_95"]))
    return f"{name:{wide}}  {row['boxes']:5}  {half:>7}  {mean:>7}"


def tell_boxes(outputs: Outputs, facts: Facts, ask: Ask) -> list[Answer]:
    """What is found in each picture; boxes are in its pixels as soon as its size is known."""
    return [_answer(finds.first(ask.top), facts, None) for finds in find(outputs, ask.score)]


def _answer(finds: Finds, facts: Facts, size: tuple[int, int] | None) -> Answer:
    """``size``: width and height of the picture."""
    boxes = finds.boxes * (max(size) if size else 1)
    if size:
        boxes = np.minimum(boxes, np.array([*size, *size], np.float64))
    rows = [
        {"class": facts.classes[label], "score": float(score), "box": dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))}
        for label, score, box in zip(finds.classes.tolist(), finds.scores, boxes.round(2 if size else 6).tolist(), strict=True)
    ]  # fmt: skip
    lines = tuple(
        f"{row['score']:7.2%}  {row['class']}  ({', '.join(f'{value:.{0 if size else 3}f}' for value in row['box'].values())})"
        for row in rows
    )

    def draw(picture: Image.Image) -> Image.Image:
        assert size is not None, "it was told before"
        return draw_boxes(picture, boxes / max(size) * max(picture.size), finds, facts)

    return Answer(
        {"boxes": rows},
        lines or ("nothing found",),
        within=lambda width, height: _answer(finds, facts, (width, height)),
        draw=draw if size else None,
    )


def draw_boxes(picture: Image.Image, boxes: Numbers, finds: Finds, facts: Facts) -> Image.Image:
    """A copy of an RGB picture with boxes [D,4] in its pixels, each with class and score."""
    drawn = picture.copy()
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(11)
    for box, score, label in reversed(list(zip(boxes.tolist(), finds.scores, finds.classes.tolist(), strict=True))):
        colour = COLOURS[label % len(COLOURS)]
        x0, y0, x1, y1 = box[0], box[1], min(box[2], picture.width - 1), min(box[3], picture.height - 1)
        pen.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=colour, width=2)
        words = f"{printable(facts.classes[label])} {score:.0%}"
        right = pen.textlength(words, font)
        place = max(0, min(x0, picture.width - right - 4)), y0 - 14 if y0 >= 14 else y0
        pen.rectangle((*place, place[0] + right + 4, place[1] + 14), fill=colour)
        pen.text((place[0] + 2, place[1]), words, "black", font)
    return drawn


def draw_gallery(outputs: Outputs, examples: Examples, facts: Facts) -> bytes:
    """The first pictures with what is found in them, and dashed in white what is there, as a PNG."""
    from matplotlib.patches import Rectangle  # late: half a second

    rows = Outputs(*(part[:SHOWN] for part in outputs))
    ask = Ask(MOST, SCORE)
    columns = min(4, len(rows.logits))
    lines = math.ceil(len(rows.logits) / columns)
    figure = new_figure(2.6 * columns + 0.2, 2.75 * lines + 0.4)
    figure.suptitle("coloured: found, with score; dashed in white: what is there", fontsize=9)
    for number, finds in enumerate(finds.first(ask.top) for finds in find(rows, ask.score)):
        axes = figure.add_subplot(lines, columns, number + 1)
        picture = facts.restore(examples.x[number])
        show(axes, picture)
        side = max(picture.shape[1:])

        def rectangle(box: Sequence[float], **style: Any) -> Rectangle:
            x0, y0, x1, y1 = (value * side - 0.5 for value in box)  # noqa: B023
            return Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, **style)

        for label, *box in examples.y[number].tolist():
            if label >= 0:
                axes.add_patch(rectangle(box, edgecolor="white", linestyle="--", linewidth=1))
        for box, score, label in zip(finds.boxes.tolist(), finds.scores, finds.classes.tolist(), strict=True):
            colour = COLOURS[label % len(COLOURS)]
            axes.add_patch(rectangle(box, edgecolor=colour, linewidth=1.2))
            said = f"{plain(facts.classes[label])} {score:.0%}"
            axes.text(box[0] * side, box[1] * side - 1, said, fontsize=6, color="black", va="bottom",
                      bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.6})  # fmt: skip
    return to_png(figure)
