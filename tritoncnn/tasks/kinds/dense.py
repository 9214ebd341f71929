"""Segmentation: one picture in, a class for each of its pixels out; cross-entropy and dice; intersection over union."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont
from torch.nn import functional as F

from tritoncnn.data import IGNORED, Examples, Facts, Reader, Targets
from tritoncnn.errors import printable
from tritoncnn.figure import as_png, new_figure, plain, show, to_png
from tritoncnn.flags import Row
from tritoncnn.task import Answer, Ask, Baseline, Example, Metric, Recipe, Report, Side, Task, Values
from tritoncnn.tasks.kinds.classification import for_classes
from tritoncnn.tasks.kinds.confusion import Confusion
from tritoncnn.tasks.kinds.detection import COLOURS

Shape = Callable[
    [int, int, int, int], tuple[int, int]
]  # (width, height of a file, of the map) -> of the file's picture in it

SMOOTH = 1.0  # pixels added above and below in dice, so that a class of no pixel that is not found costs nothing
FINE = 1024  # side up to which scores are scaled, before the largest is taken
SHADE = 0.55  # share of a class's colour where it is laid over a picture
SHOWN = 8  # test pictures of the gallery
LEAST = 0.001  # share of a picture from which on a class is told
GREYS = 64  # levels of the baseline


def segmentation(
    *,
    name: str,
    about: str,
    models: Mapping[str, Callable[..., torch.nn.Module]],
    data: tuple[str, ...],
    classes: tuple[str, ...],
    side: int,
    read: Reader,
    shape: Shape,
    sides: Mapping[str, Side],
    recipe: Recipe,
    recipes: Mapping[str, Recipe],
    options: tuple[Row, ...] = (),
) -> Task:
    """A task whose ``models`` are built from the numbers of classes and of the pictures' channels, and its ``options`` by name.

    ``classes`` and ``side`` are those of the default data; ``shape`` says where a file's picture lies in what ``read`` makes.
    """

    def example(batch: int) -> Example:
        y = torch.zeros(batch, side, side, dtype=torch.int64)
        y[:, : side // 2] = 1
        return Example(torch.zeros(batch, 3, side, side), y, Facts(classes, (0.0,) * 3, (1.0,) * 3))

    return Task(
        name=name,
        about=about,
        models={model: for_classes(build) for model, build in models.items()},
        data=data,
        loss=segmentation_loss,
        metrics={
            "test_loss": Metric(lambda scores, y: float(segmentation_loss(scores, y)), loss=True),
            "mIoU": Metric(mean_iou, percent=True),
            "pixel_accuracy": Metric(pixel_accuracy, percent=True),
        },
        best="mIoU",
        example=example,
        read=read,
        sides=sides,
        answer=tell_masks(shape),
        ask=Ask(20, LEAST),
        recipe=recipe,
        recipes=recipes,
        options=options,
        targets=Targets.MAPS,
        pictures={"masks.png": draw_masks, "confusion.png": draw_confusion},
        report=tell_ious,
        baseline=likeliest_by_grey,
    )


def segmentation_loss(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy + 1 - mean dice over the classes, of the pixels that are not IGNORED; of none, 0 + 0.

    Source: Milletari et al. 2016, "V-Net"; dice is of all pixels of the batch together, not of each picture's.
    """
    counted = (target != IGNORED).float()
    entropy = F.cross_entropy(scores, target, ignore_index=IGNORED, reduction="sum") / counted.sum().clamp(min=1)
    shares = torch.softmax(scores, 1) * counted[:, None]
    wanted = (target[:, None] == torch.arange(scores.shape[1])[:, None, None]).float()
    both, sum_ = (shares * wanted).sum((0, 2, 3)), (shares + wanted).sum((0, 2, 3))
    return entropy + 1 - ((2 * both + SMOOTH) / (sum_ + SMOOTH)).mean()


def count_pixels(found: torch.Tensor, target: torch.Tensor, classes: int) -> NDArray[np.int64]:
    """i64[classes,classes]: pixels by their class (rows) and by what was found (columns), without those IGNORED."""
    counted = target != IGNORED
    code = target[counted] * classes + found[counted]
    return code.bincount(minlength=classes**2).reshape(classes, classes).numpy()


def ious(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each class the pixels rightly found, as a share of those that are, or were found to be, of it; nan of none."""
    right = np.diag(counts).astype(np.float64)
    union = counts.sum(0) + counts.sum(1) - right
    return np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)


def _mean(values: NDArray[np.float64]) -> float:
    """Over the classes that there are; 0 where no pixel counts."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else 0.0


def mean_iou(scores: torch.Tensor, target: torch.Tensor) -> float:
    return _mean(ious(count_pixels(scores.argmax(1), target, scores.shape[1])))


def pixel_accuracy(scores: torch.Tensor, target: torch.Tensor) -> float:
    counted = target != IGNORED
    right = (scores.argmax(1) == target) & counted
    return float(right.sum()) / max(1, int(counted.sum()))


def likeliest_by_grey(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline:
    """Mean IoU of the class that is the most frequent one in training at each pixel's grey value: a threshold, of two classes."""
    classes = len(facts.classes)
    seen = train.y != IGNORED
    code = _greys(facts, train.x)[seen] * classes + train.y[seen]
    table = code.bincount(minlength=GREYS * classes).reshape(GREYS, classes)
    common = int(table.sum(0).argmax())
    best = torch.where(table.sum(1) > 0, table.argmax(1), common)  # of a grey that was never seen
    counts = count_pixels(best[_greys(facts, test.x)], test.y, classes)
    return Baseline("the likeliest class for each grey value", _mean(ious(counts)))


def _greys(facts: Facts, x: torch.Tensor) -> torch.Tensor:
    """Level of grey of each pixel, i64[N,H,W]."""
    return (torch.from_numpy(facts.restore(x)).mean(1) * (GREYS - 1)).round().long().clamp(0, GREYS - 1)


def tell_ious(scores: torch.Tensor, examples: Examples, facts: Facts) -> Report:
    """IoU and accuracy of each class, and the confusion of classes, in pixels."""
    counts = count_pixels(scores.argmax(1), examples.y, len(facts.classes))
    rows: list[dict[str, Any]] = []
    wide = max(len("class"), *(len(name) for name in facts.classes))
    lines = ["", f"{'class':{wide}}      pixels      IoU  accuracy"]
    for number, (name, iou) in enumerate(zip(facts.classes, ious(counts), strict=True)):
        pixels = int(counts[number].sum())
        values = [None if np.isnan(iou) else float(iou), int(counts[number, number]) / pixels if pixels else None]
        rows.append({"class": name, "pixels": pixels, "IoU": values[0], "accuracy": values[1]})
        shown = ["-" if value is None else f"{value:.2%}" for value in values]
        lines.append(f"{name:{wide}}  {pixels:10,}  {shown[0]:>7}  {shown[1]:>8}")
    return Report({"classes": rows, "confusion": counts.tolist()}, tuple(lines))


def draw_confusion(scores: torch.Tensor, examples: Examples, facts: Facts) -> bytes:
    """The confusion of classes, in pixels, as a PNG."""
    return Confusion(facts.classes, count_pixels(scores.argmax(1), examples.y, len(facts.classes))).draw("pixels")


def palette(count: int) -> NDArray[np.uint8]:
    """u8[count,3], colours that differ: black, those of boxes, then Pascal VOC's."""
    colours = np.zeros((count, 3), np.uint8)
    for label in range(count):
        for bit in range(8):  # three bits of the number at a time, the highest bit of each colour first
            for channel in range(3):
                colours[label, channel] |= ((label >> (3 * bit + channel)) & 1) << (7 - bit)
    bright = [ImageColor.getrgb(colour) for colour in COLOURS][: max(0, count - 1)]
    colours[1 : 1 + len(bright)] = np.array(bright, np.uint8).reshape(-1, 3)
    return colours


def colours_of(facts: Facts) -> NDArray[np.uint8]:
    """u8[classes,3]: the data's own colours of the classes, else those of ``palette``."""
    return np.array(facts.colours, np.uint8) if facts.colours else palette(len(facts.classes))


def draw_masks(scores: torch.Tensor, examples: Examples, facts: Facts) -> bytes:
    """Test pictures, what is in them, and what was found, as a PNG; white is what does not count."""
    count = min(SHOWN, len(examples))
    found = scores[:count].argmax(1).numpy()
    colours = colours_of(facts).astype(np.float64) / 255
    figure = new_figure(1.35 * count + 0.9, 4.9)
    grid = figure.subplots(3, count, squeeze=False)
    for column in range(count):
        true = examples.y[column].numpy()
        show(grid[0, column], facts.restore(examples.x[column]))
        for row, mask in ((1, true), (2, found[column])):
            values = np.where((mask == IGNORED)[:, :, None], 1.0, colours[mask])
            show(grid[row, column], values.transpose(2, 0, 1))
    for row, words in enumerate(("picture", "truth", "answer")):
        grid[row, 0].text(
            -0.06, 0.5, words, rotation=90, va="center", ha="right", transform=grid[row, 0].transAxes, fontsize=9
        )
    handles = [_patch(colour) for colour in colours[:20]]
    figure.legend(
        handles, [plain(name) for name in facts.classes[:20]], loc="outside lower center", ncols=11, fontsize=7
    )
    return to_png(figure)


def _patch(colour: NDArray[np.float64]) -> Any:
    from matplotlib.patches import Patch  # late: half a second

    return Patch(facecolor=tuple(colour.tolist()), edgecolor="grey", linewidth=0.5)


def tell_masks(shape: Shape) -> Callable[[torch.Tensor, Facts, Ask], list[Answer]]:
    """Answers of pictures that lie in the upper left corner of the net's, in ``shape``: shares, a mask, an overlay."""

    def answer(scores: torch.Tensor, facts: Facts, ask: Ask) -> list[Answer]:
        return [_answer(one, facts, ask, shape, None) for one in scores]

    return answer


def _answer(scores: torch.Tensor, facts: Facts, ask: Ask, shape: Shape, size: tuple[int, int] | None) -> Answer:
    """``scores`` f32[classes,H,W]; ``size``: width and height of the file's picture, as soon as it is known."""
    mask = _mask(scores, shape, size)
    shares = np.bincount(mask.reshape(-1), minlength=len(facts.classes)) / mask.size
    order = [int(label) for label in np.argsort(-shares, kind="stable") if shares[label] >= max(ask.score, 1e-9)]
    note = {"classes": [{"class": facts.classes[label], "share": float(shares[label])} for label in order[: ask.top]]}
    lines = tuple(f"{shares[label]:7.2%}  {facts.classes[label]}" for label in order[: ask.top])
    return Answer(
        note | ({"width": size[0], "height": size[1]} if size else {}),
        lines or (f"no class has a share of {ask.score:.2%}",),
        draw=partial(draw_overlay, mask, facts),
        within=lambda width, height: _answer(scores, facts, ask, shape, (width, height)),
        files={"mask.png": partial(_as_png, mask, facts)} if size else {},
    )


def _mask(scores: torch.Tensor, shape: Shape, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """The class of each pixel u8[height,width] of the file's picture; without its size, of all that the net saw."""
    if size is None:
        return scores.argmax(0).numpy().astype(np.uint8)
    width, height = shape(*size, scores.shape[2], scores.shape[1])
    own = scores[:, :height, :width]
    scale = min(1.0, FINE / max(size))
    fine = (max(1, round(size[1] * scale)), max(1, round(size[0] * scale)))
    if fine != (height, width):
        own = F.interpolate(own[None], fine, mode="bilinear", align_corners=False)[0]
    mask = Image.fromarray(own.argmax(0).numpy().astype(np.uint8))
    return np.asarray(mask if mask.size == size else mask.resize(size, Image.Resampling.NEAREST))


def _as_png(mask: NDArray[np.uint8], facts: Facts) -> bytes:
    """A palette PNG of ids; where the data have colours for the classes, a PNG of these, as the masks that it learned from."""
    picture = Image.fromarray(colours_of(facts)[mask] if facts.colours else mask)
    if not facts.colours:
        picture.putpalette(palette(max(len(facts.classes), 2)).tobytes())
    return as_png(picture)


def draw_overlay(mask: NDArray[np.uint8], facts: Facts, picture: Image.Image) -> Image.Image:
    """An RGB picture with the colours of all classes but a first one in black laid over it, and the names of those below."""
    small = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
    colours, classes = colours_of(facts), facts.classes
    ground = 0 if not colours[0].any() else None
    there = [label for label in np.unique(small).tolist() if label != ground]
    values = np.asarray(picture, np.float64)
    mixed = np.where((small != ground)[:, :, None], (1 - SHADE) * values + SHADE * colours[small], values)
    font, line = ImageFont.load_default(12), 16
    width = max(picture.width, *(int(font.getlength(printable(classes[label]))) + 24 for label in there), 1)
    page = Image.new("RGB", (width, picture.height + line * len(there)), "white")
    page.paste(Image.fromarray(mixed.round().astype(np.uint8)), (0, 0))
    pen = ImageDraw.Draw(page)
    for number, label in enumerate(there):
        top = picture.height + line * number
        pen.rectangle((4, top + 3, 14, top + 13), fill=tuple(colours[label].tolist()))
        pen.text((20, top), printable(classes[label]), "black", font)
    return page
