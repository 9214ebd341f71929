"""Pictures of what a small classifier has learned: the filters of its first layer, and examples that it reads rightly or not."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from tritoncnn.data import Examples, Facts
from tritoncnn.figure import new_figure, plain, to_png

RIGHT, WRONG = 6, 6  # examples of each class
CLASSES = 12  # of which examples are shown
MOST = 64  # filters that are shown
GREEN, RED = (0.2, 0.6, 0.2), (0.85, 0.2, 0.15)


def draw_examples(logits: torch.Tensor, examples: Examples, facts: Facts) -> bytes:
    """A PNG: a line for each class, first test pictures of it that were read rightly, then those that were not."""
    found, classes = logits.argmax(1), facts.classes[:CLASSES]
    H, W = examples.x.shape[2:]
    cells = [[_framed(None, H, W, (1.0, 1.0, 1.0))] * (RIGHT + WRONG) for _ in classes]
    for label in range(len(classes)):
        own, right = examples.y == label, found == examples.y
        for first, rows, colour in ((0, own & right, GREEN), (RIGHT, own & ~right, RED)):
            for place, row in enumerate(rows.nonzero()[: RIGHT if colour is GREEN else WRONG, 0].tolist()):
                cells[label][first + place] = _framed(facts.restore(examples.x[row]), H, W, colour)
    sheet = np.concatenate([np.concatenate(line, 1) for line in cells])
    figure = new_figure(9, 1 + 0.7 * len(classes))
    axes = figure.subplots()
    axes.imshow(sheet, interpolation="nearest")
    axes.set_yticks([(i + 0.5) * sheet.shape[0] / len(classes) for i in range(len(classes))], map(plain, classes))
    axes.set_xticks([])
    axes.set_title("read rightly (green), taken for another class (red)")
    return to_png(figure)


def _framed(picture: NDArray[np.floating] | None, H: int, W: int, colour: tuple[float, ...]) -> NDArray[np.float64]:
    """f64[H + 4, W + 4, 3]: a picture f32[C,H,W] from its least value to its largest, in a frame; without one, all frame."""
    cell = np.empty((H + 4, W + 4, 3))
    cell[:] = colour
    if picture is not None:
        low, high = float(picture.min()), float(picture.max())
        cell[2:-2, 2:-2] = ((picture - low) / ((high - low) or 1.0)).transpose(1, 2, 0)  # one channel fills all three
    return cell


def draw_filters(weights: Mapping[str, torch.Tensor], facts: Facts) -> bytes:
    """A PNG of the first layer's filters, or of a full layer's weights as pictures: blue below 0, white at 0, red above.

    Each is on a scale of its own; of colour pictures the mean over the channels is shown.
    """
    first = next(tensor for tensor in weights.values() if tensor.dim() > 1)
    if first.dim() == 2:
        side = math.isqrt(first.shape[1] // len(facts.mean))
        first = first.reshape(len(first), len(facts.mean), side, side)
    taps = first[:MOST].mean(1).double().numpy()
    largest = np.abs(taps).max((1, 2), keepdims=True)
    taps = taps / np.where(largest > 0, largest, 1.0)
    columns = math.ceil(math.sqrt(len(taps)))
    lines = math.ceil(len(taps) / columns)
    sheet = np.full((lines * (taps.shape[1] + 1) - 1, columns * (taps.shape[2] + 1) - 1), np.nan)
    for place, tap in enumerate(taps):
        row, column = place // columns * (taps.shape[1] + 1), place % columns * (taps.shape[2] + 1)
        sheet[row : row + taps.shape[1], column : column + taps.shape[2]] = tap
    figure = new_figure(5, 5 * lines / columns + 0.5)
    axes = figure.subplots()
    axes.imshow(sheet, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_title("filters of the first layer" + (f", {MOST} of {len(first)}" if len(first) > MOST else ""))
    axes.set_axis_off()
    return to_png(figure)
