"""curve.png, and sheets of pictures: before, the change magnified, after."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tritoncnn.data.define import Array
from tritoncnn.errors import printable
from tritoncnn.figure import as_png, levels, new_figure, to_png

SIDE = 192  # of a picture on a sheet, at least, in pixels
GAP, LINE = 8, 18
PAPER, INK = "white", "black"
Shown = tuple[Array, Array, str, str]  # f32[C,H,W] before and after, what is said of each


def draw_curve(rows: Sequence[Mapping[str, float]], title: str, norm: str) -> bytes:
    """A PNG: accuracy over epsilon, under attack and under noise of the same size."""
    figure = new_figure(6, 4)
    axes = figure.subplots()
    epsilon = [row["epsilon"] for row in rows]
    names = {
        "accuracy": ("accuracy under attack", "C3", "-"),
        "noise_accuracy": ("accuracy under noise of this size", "C0", "--"),
        "target_share": ("taken for the target", "C1", "-"),
        "noise_target_share": ("the same under noise", "C2", "--"),
    }
    for name, (label, colour, line) in names.items():
        if name in rows[0]:
            axes.plot(epsilon, [row[name] for row in rows], label=label, color=colour, linestyle=line, marker="o")
    what = "largest change of a value" if norm == "linf" else "2-norm of the change"
    axes.set(title=title.replace("$", r"\$"), xlabel=f"epsilon ({what})", ylabel="share of test pictures")
    axes.set(ylim=(-0.03, 1.03))
    axes.grid(alpha=0.3)
    axes.legend()
    return to_png(figure)


def draw_sheet(shown: Sequence[Shown], title: str) -> bytes:
    """A PNG with a row for each picture: before, the change with 0 at mid-grey, after; what is said of them below."""
    font = ImageFont.load_default(LINE - 5)
    rows = [[(_enlarged(values), printable(text)) for values, text in _panels(*one)] for one in shown]
    wide = [
        max(max(picture.width, int(font.getlength(text)) + 4) for picture, text in cells)
        for cells in zip(*rows, strict=True)
    ]
    high = [cells[0][0].height + LINE + GAP for cells in rows]
    words = printable(title)
    width = max(sum(wide) + GAP * (len(wide) - 1), int(font.getlength(words)) + 4)
    page = Image.new("RGB", (width, LINE + GAP + sum(high)), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((2, 2), words, INK, font)
    for row, top in zip(rows, itertools.accumulate(high, initial=LINE + GAP), strict=False):
        for (picture, text), left in zip(
            row, itertools.accumulate((cell + GAP for cell in wide), initial=0), strict=False
        ):
            page.paste(picture, (left, top))
            draw.text((left + 2, top + picture.height + 1), text, INK, font)
    return as_png(page)


def _panels(before: Array, after: Array, said: str, said_after: str) -> list[tuple[Array, str]]:
    """The three pictures of a row, f32[C,H,W] from 0 to 1, each with its words."""
    change = after - before
    largest = float(np.abs(change).max())
    low, high = min(0.0, float(before.min())), max(1.0, float(before.max()))  # more than 0 to 1: it was evened out
    changed = f"the change x {0.5 / largest:.2g}; grey is none" if largest else "no change"
    return [
        ((before - low) / (high - low), f"before: {said}"),
        (0.5 + change / (2 * (largest or 1.0)), changed),
        ((after - low) / (high - low), f"after: {said_after}"),
    ]


def _enlarged(values: Array) -> Image.Image:
    """f32[C,H,W] from 0 to 1 as a picture of whole pixels, at least SIDE wide where it is smaller."""
    picture = Image.fromarray(levels(values)).convert("RGB")
    scale = max(1, round(SIDE / max(picture.size)))
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
