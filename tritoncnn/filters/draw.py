"""filter.png: taps that were found, and how descent came to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tritoncnn.figure import new_figure, to_png
from tritoncnn.filters.taps import Taps

Panel = tuple[str, Taps, float]  # how it was found, the filter, its residual
WRITTEN = 7  # taps along a side up to which each has its number in the picture


def draw_learned(found: Sequence[Panel], losses: Sequence[float], spread: float) -> bytes:
    """A PNG: each filter on one scale of colours, white at 0, then the losses of the descent over its steps."""
    count = len(found) + bool(losses)
    figure = new_figure(4 * count, 4)
    panels = figure.subplots(1, count, squeeze=False)[0]
    largest = max(float(np.abs(taps).max()) for _, taps, _ in found) or 1.0
    for axes, (how, taps, residual) in zip(panels, found, strict=False):
        axes.imshow(taps, cmap="RdBu_r", vmin=-largest, vmax=largest)
        axes.set(title=f"{how}\nresidual {residual:.2g} (spread {spread:.2g})", xticks=[], yticks=[])
        if max(taps.shape) <= WRITTEN:
            for (row, column), tap in np.ndenumerate(taps):
                ink = "white" if abs(tap) > 0.6 * largest else "black"
                axes.text(column, row, f"{tap.round(3) + 0.0:.3f}", ha="center", va="center", color=ink, fontsize=8)
    if losses:
        axes, steps = panels[-1], np.arange(len(losses))
        above = np.array(losses) > 0  # a logarithm has no place for a perfect fit
        axes.plot(steps[above], np.array(losses)[above], marker="." if len(losses) <= 40 else "")
        axes.set(title="descent", xlabel="step", ylabel="squared residual / squared picture", yscale="log")
        axes.grid(alpha=0.3)
    return to_png(figure)
